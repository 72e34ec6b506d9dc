{{/*
The objects in a file of the kustomize manifests, in the release's namespace.
Takes root (the top context) and file (below files).
*/}}
{{- define "ray-operator.objects" -}}
{{- $namespace := .root.Release.Namespace -}}
{{- range splitList "\n---\n" (.root.Files.Get (printf "files/%s" .file)) }}
{{- $object := fromYaml . }}
{{- if hasKey $object.metadata "namespace" }}
{{- $_ := set $object.metadata "namespace" $namespace }}
{{- end }}
{{- range $object.subjects }}
{{- $_ := set . "namespace" $namespace }}
{{- end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
