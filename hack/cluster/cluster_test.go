package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestOpenCluster(t *testing.T) {
	dir := t.TempDir()
	if _, err := openCluster("a", filepath.Join(dir, "missing")); err != nil {
		t.Errorf("opening a missing directory: %v", err)
	}
	a, err := openCluster("a", dir)
	if err != nil {
		t.Fatalf("opening an empty directory: %v", err)
	}
	if err := os.WriteFile(a.marker(), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openCluster("a", dir); err != nil {
		t.Errorf("opening the cluster's directory: %v", err)
	}
	if _, err := openCluster("b", dir); err == nil {
		t.Error("no error for the directory of another cluster")
	}
}

func TestClusterDir(t *testing.T) {
	mod := module{repo: "/repo"}
	for _, test := range []struct{ name, dir, want string }{
		{"dev", "", "/repo/.cluster/dev"},
		{"dev", "state", "state"},
		{"../dev", "", ""},
		{"", "", ""},
	} {
		got, err := clusterDir(mod, test.name, test.dir)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("clusterDir(%q, %q) = %q, %v, want %q", test.name, test.dir, got, err, test.want)
		}
	}
}

func TestLastLines(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"one\ntwo\n", "one\ntwo"},
		{"one\ntwo\nthree\n", "two\nthree"},
	} {
		if got := lastLines(test.text, 2); got != test.want {
			t.Errorf("lastLines(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

func TestParseExtraArg(t *testing.T) {
	got, err := parseExtraArg("kube-apiserver=runtime-config=api/all=true")
	want := extraArg{component: "kube-apiserver", key: "runtime-config", value: "api/all=true"}
	if err != nil || got != want {
		t.Errorf("parseExtraArg = %v, %v, want %v", got, err, want)
	}
	for _, wrong := range []string{"", "etcd", "etcd=v", "etcd==1", "kubelet=v=1"} {
		if _, err := parseExtraArg(wrong); err == nil {
			t.Errorf("no error for %q", wrong)
		}
	}
}

// A later argument overrides an earlier one, so the user's have to come last.
func TestExtraArgsComeLast(t *testing.T) {
	arg := extraArg{component: "kube-apiserver", key: "audit-log-maxsize", value: "1"}
	data, err := kwokctlConfigFor("/bin", "/policy.yaml", []extraArg{arg})
	if err != nil {
		t.Fatal(err)
	}
	var config kwokctlConfig
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	last := config.ComponentsPatches[len(config.ComponentsPatches)-1]
	if last.Name != arg.component || !slices.Equal(last.ExtraArgs, []keyValue{{arg.key, arg.value}}) {
		t.Errorf("last argument = %v, want %v", last, arg)
	}
}
