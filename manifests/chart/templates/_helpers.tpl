{{/* Labels of all objects. They do not vary, since the Deployment's selector is immutable. */}}
{{- define "ray-operator.labels" -}}
app.kubernetes.io/name: ray-operator
{{- end }}

{{/* The name of the operator's ServiceAccount. */}}
{{- define "ray-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default "ray-operator" .Values.serviceAccount.name }}
{{- else -}}
{{ required "serviceAccount.name is required if serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The operator's permissions on Rays and their children, for a ClusterRole or a Role. */}}
{{- define "ray-operator.rules" -}}
# Watch the desired state. Read a Ray from the API server when the cache may be stale.
# The operator never writes a Ray's spec or metadata.
- apiGroups: [ray.kubeflow.org]
  resources: [rays]
  verbs: [get, list, watch]
# Report the observed state.
- apiGroups: [ray.kubeflow.org]
  resources: [rays/status]
  verbs: [update]
# Set blockOwnerDeletion in the owner references of children. The admission plugin
# OwnerReferencesPermissionEnforcement, which OpenShift enables, requires this permission.
- apiGroups: [ray.kubeflow.org]
  resources: [rays/finalizers]
  verbs: [update]
# Reconcile the Service of the head. Read it from the API server when it already exists but is
# not in the cache. The operator never deletes a Service. To adopt one, it adds an owner reference:
# the admission plugin OwnerReferencesPermissionEnforcement allows this only with delete.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, update, delete]
# Reconcile the Deployments of the head and the workers. Delete the workers' Deployment when
# spec.worker is removed. Adopt Deployments, see above.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, update, delete]
# Find out why a group is incomplete, and which Pods are idle Ray nodes. Pods are read only then, and are
# not watched or cached. Mark the Pods of idle nodes as the first to be deleted when an autoscaled group
# scales down.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch]
# Record events. Repeated events update the count of an existing event.
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}
