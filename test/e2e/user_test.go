package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// seedManifest is the manifest that users know, byte for byte.
const seedManifest = "manifests/samples/sample-cluster.yaml"

// output is what a command said.
type output struct {
	stdout, stderr string
	err            error
}

// runKubectl runs kubectl as the cluster's administrator.
func runKubectl(ctx context.Context, stdin string, args ...string) output {
	command := exec.CommandContext(ctx, path("bin/cluster/kubectl"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+*kubeconfig)
	command.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	return output{stdout.String(), stderr.String(), err}
}

// user is somebody with a namespace of their own.
type user struct {
	*testing.T
	namespace string
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// newUser returns a user whose namespace goes when the test ends.
func newUser(t *testing.T) *user {
	t.Helper()
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(strings.TrimPrefix(t.Name(), "Test")), "-"), "-")
	namespace, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name[:min(len(name), 40)] + "-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u := &user{T: t, namespace: namespace.Name}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", runKubectl(context.Background(), "", "--namespace", u.namespace, "get", "rays,deployments,services,events", "-o", "wide").stdout)
			t.Logf("%s", runKubectl(context.Background(), "", "--namespace", u.namespace, "get", "rays", "-o", "jsonpath={.items[*].status}").stdout)
		}
		if err := kube.CoreV1().Namespaces().Delete(context.Background(), u.namespace, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	// What a namespace is given by controllers has to be there before Pods are.
	u.eventually("the namespace has its ServiceAccount", func() error {
		_, err := kube.CoreV1().ServiceAccounts(u.namespace).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	return u
}

// try runs kubectl in the user's namespace.
func (u *user) try(stdin string, args ...string) output {
	return runKubectl(u.Context(), stdin, append([]string{"--namespace", u.namespace}, args...)...)
}

// kubectl runs kubectl in the user's namespace, which has to succeed.
func (u *user) kubectl(args ...string) output {
	u.Helper()
	return u.kubectlWith("", args...)
}

// kubectlWith is kubectl with a manifest on standard input.
func (u *user) kubectlWith(stdin string, args ...string) output {
	u.Helper()
	out := u.try(stdin, args...)
	if out.err != nil {
		u.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), out.err, out.stderr)
	}
	return out
}

// delete deletes objects after a test, when its own context is done.
func (u *user) delete(args ...string) {
	u.Helper()
	out := runKubectl(context.Background(), "", append([]string{"--namespace", u.namespace, "delete"}, args...)...)
	if out.err != nil {
		u.Error(out.err, out.stderr)
	}
}

// seed returns the seed's manifest with replacements, given in pairs.
func (u *user) seed(replacements ...string) string {
	u.Helper()
	data, err := os.ReadFile(path(seedManifest))
	if err != nil {
		u.Fatal(err)
	}
	manifest := string(data)
	for pair := range slices.Chunk(replacements, 2) {
		if !strings.Contains(manifest, pair[0]) {
			u.Fatalf("the seed's manifest does not have %q", pair[0])
		}
		manifest = strings.ReplaceAll(manifest, pair[0], pair[1])
	}
	return manifest
}

// runSeed applies the seed's manifest, with replacements, and waits for Health.
func (u *user) runSeed(replacements ...string) {
	u.Helper()
	u.kubectlWith(u.seed(replacements...), "apply", "-f", "-")
	u.waitHealthy("sample-cluster")
}

// poll calls a condition until it returns nil, or returns its last error when ctx is done.
func poll(ctx context.Context, condition func() error) error {
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// eventually waits until a condition returns nil.
func (u *user) eventually(what string, condition func() error) {
	u.Helper()
	ctx, cancel := context.WithTimeout(u.Context(), patience)
	defer cancel()
	if err := poll(ctx, condition); err != nil {
		u.Fatalf("waited %s in vain until %s: %v", patience, what, err)
	}
}

func (u *user) ray(name string) *rayv1.Ray {
	u.Helper()
	ray, err := rays.RayV1().Rays(u.namespace).Get(u.Context(), name, metav1.GetOptions{})
	if err != nil {
		u.Fatal(err)
	}
	return ray
}

func (u *user) deployment(name string) *appsv1.Deployment {
	u.Helper()
	deployment, err := kube.AppsV1().Deployments(u.namespace).Get(u.Context(), name, metav1.GetOptions{})
	if err != nil {
		u.Fatal(err)
	}
	return deployment
}

// waitHealth waits until the status is about the Ray's newest generation and Health is
// as wanted, with a message that contains a text.
func (u *user) waitHealth(name string, want corev1.ConditionStatus, text string) rayv1.RayCondition {
	u.Helper()
	var health rayv1.RayCondition
	u.eventually(fmt.Sprintf("Health of %s is %s, %q", name, want, text), func() error {
		ray, err := rays.RayV1().Rays(u.namespace).Get(u.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if ray.Status.ObservedGeneration != ray.Generation {
			return fmt.Errorf("the status is about generation %d, the spec is generation %d", ray.Status.ObservedGeneration, ray.Generation)
		}
		health = *condition(ray, rayv1.RayHealth)
		if health.Status != want || !strings.Contains(health.Message, text) {
			return fmt.Errorf("Health is %s, %s, %q", health.Status, health.Reason, health.Message)
		}
		return nil
	})
	return health
}

func (u *user) waitHealthy(name string) { u.Helper(); u.waitHealth(name, corev1.ConditionTrue, "") }

// condition returns a condition of a Ray, which is Unknown if the Ray does not have it.
func condition(ray *rayv1.Ray, kind rayv1.RayConditionType) *rayv1.RayCondition {
	for i := range ray.Status.Conditions {
		if ray.Status.Conditions[i].Type == kind {
			return &ray.Status.Conditions[i]
		}
	}
	return &rayv1.RayCondition{Type: kind, Status: corev1.ConditionUnknown, Message: "no such condition"}
}

// waitGone waits until an object cannot be found.
func (u *user) waitGone(what string, get func() error) {
	u.Helper()
	u.eventually(what+" is gone", func() error {
		err := get()
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			return errors.New("it is still there")
		}
		return err
	})
}

func (u *user) waitDeploymentGone(name string) {
	u.Helper()
	u.waitGone("deployment "+name, func() error {
		_, err := kube.AppsV1().Deployments(u.namespace).Get(u.Context(), name, metav1.GetOptions{})
		return err
	})
}

func (u *user) waitServiceGone(name string) {
	u.Helper()
	u.waitGone("service "+name, func() error {
		_, err := kube.CoreV1().Services(u.namespace).Get(u.Context(), name, metav1.GetOptions{})
		return err
	})
}

// waitEvent waits for an event about a Ray.
func (u *user) waitEvent(ray, kind, reason, message string) {
	u.Helper()
	u.eventually(fmt.Sprintf("there is an event %s %s %q", kind, reason, message), func() error {
		events, err := kube.CoreV1().Events(u.namespace).List(u.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Ray,involvedObject.name=" + ray})
		if err != nil {
			return err
		}
		var seen []string
		for _, event := range events.Items {
			if event.Type == kind && event.Reason == reason && strings.Contains(event.Message, message) && event.Source.Component == "ray-operator" {
				return nil
			}
			seen = append(seen, fmt.Sprintf("%s %s %q", event.Type, event.Reason, event.Message))
		}
		return fmt.Errorf("there are %v", seen)
	})
}

// pods returns the Pods of a group which have not ended.
func (u *user) pods(role rayv1.Role) []corev1.Pod {
	u.Helper()
	list, err := kube.CoreV1().Pods(u.namespace).List(u.Context(), metav1.ListOptions{LabelSelector: rayv1.LabelRole + "=" + string(role)})
	if err != nil {
		u.Fatal(err)
	}
	return list.Items
}

// podUIDs returns the UIDs of a group's Pods, sorted: they change when Pods restart.
func (u *user) podUIDs(role rayv1.Role) []string {
	u.Helper()
	var uids []string
	for _, pod := range u.pods(role) {
		uids = append(uids, string(pod.UID))
	}
	slices.Sort(uids)
	return uids
}
