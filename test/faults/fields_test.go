package faults

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
	"github.com/kubeflow/ray-operator/test/faults/schema"
)

// fieldCase sets one leaf of one group of a Ray to all its values, one after the other.
//
// Kubernetes says which are valid: what the leaf makes of a Deployment is tried on the
// server without the operator.
type fieldCase struct {
	name   string
	role   rayv1.Role
	leaf   schema.Leaf
	values []schema.Value

	scene *sharedScene
	ray   *trackedRay
	// base is the state after the Ray was created without the leaf.
	base *history.State
	// reached says that there was a value that Kubernetes takes and keeps.
	reached bool
}

// fieldsCases has a case for every leaf of both groups.
func fieldsCases() []testCase {
	spec, err := schema.Load(filepath.Join(*root, "manifests", "crd", "ray.kubeflow.org_rays.yaml"))
	if err != nil {
		return []testCase{{name: "fields", always: true, run: func(t *testing.T) { t.Fatal(err) }}}
	}
	var cases []testCase
	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker} {
		for _, leaf := range schema.Leaves(spec.Properties[string(role)]) {
			name := string(role) + "/" + leaf.Name()
			c := fieldCase{name: "fields/" + name, role: role, leaf: leaf, values: append(leaf.Values(), replicaValues[name]...)}
			cases = append(cases, testCase{name: c.name, run: func(t *testing.T) {
				run := c // it may run more than once
				run.run(t)
			}})
		}
	}
	return cases
}

// replicaValues are what Ray itself says of the number of replicas.
var replicaValues = map[string][]schema.Value{
	"head/replicas":   {{Name: "unset", Unset: true}, {Name: "two heads", JSON: 2, Refused: true}},
	"worker/replicas": {{Name: "unset", Unset: true}, {Name: "more", JSON: 4}},
}

func (c *fieldCase) run(t *testing.T) {
	defer func() {
		if t.Failed() {
			t.Logf("repeat it with SEED=%d CASE=%s", *seed, c.name)
		}
	}()
	c.scene = fields.open(t)
	c.begin(t)
	var invalid []schema.Value
	refusals := map[string]string{}
	for _, value := range c.values {
		if value.Refused {
			c.isRefused(t, value)
			continue
		}
		want, refusal, err := dryRun(t.Context(), c.ray.name+"-"+string(c.role), c.leaf.Group(value))
		switch {
		case err != nil:
			t.Fatal(err)
		case refusal != "":
			invalid = append(invalid, value)
			refusals[value.Name+value.String()] = refusal
		default:
			_, kept := c.leaf.In(want)
			c.reached = c.reached || kept
			c.converges(t, value, want)
		}
	}
	c.goesBack(t, 0)
	for _, value := range invalid {
		c.isKeptOut(t, value, refusals[value.Name+value.String()])
	}
	c.goesBack(t, maxRefusals)
	if why := whyUnreachable(c.leaf); c.reached == (why != "") {
		t.Errorf("Kubernetes took and kept a value: %t; the table of leaves that it never takes says %q", c.reached, why)
	}
}

// spec returns a spec whose group under test is the given one.
func (c *fieldCase) spec(group map[string]any) map[string]any {
	if c.role == rayv1.RoleHead {
		return map[string]any{"head": group}
	}
	return map[string]any{"head": schema.Base(), string(c.role): group}
}

// begin creates the Ray without the leaf.
func (c *fieldCase) begin(t *testing.T) {
	ray, err := c.scene.create(t, fmt.Sprintf("f%016x", hash(c.name)), c.spec(schema.Base()))
	if err != nil {
		t.Fatal(err)
	}
	c.ray = ray
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	if c.base, err = ray.await(ctx, healthy); err != nil {
		t.Fatalf("the base: %v", err)
	}
	c.checkWrites(t, "the base", ray, allowed{creates: len(c.base.Deployments) + 1})
}

// converges checks that the Ray comes to be as one that was created with the value.
func (c *fieldCase) converges(t *testing.T, value schema.Value, want map[string]any) {
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	name := fmt.Sprintf("%s-%x", c.ray.name, hash(value.Name+value.String()))
	spec := c.spec(c.leaf.Group(value))
	created, err := c.scene.create(t, name, spec)
	if err != nil {
		t.Fatalf("%s: Kubernetes takes it, but a Ray with it is refused: %v", value, err)
	}
	fresh, err := created.await(ctx, healthy)
	if err != nil {
		t.Fatalf("%s: a Ray that is created with it: %v", value, err)
	}
	c.checkWrites(t, value.String()+" from the start", created, allowed{creates: len(c.base.Deployments) + 1})
	deployment := &fresh.Deployments[len(fresh.Deployments)-1]
	if diff := templateDiff(want, deployment); diff != "" {
		t.Errorf("%s: the Deployment differs from one without the operator (-want +got):\n%s", value, diff)
	}

	if err := c.ray.change(ctx, spec); err != nil {
		t.Fatalf("%s: changing a Ray to it: %v", value, err)
	}
	if fresh, err = renamed(fresh, name, c.ray.name); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ray.await(ctx, likeRenamed(fresh)); err != nil {
		t.Fatalf("%s: a Ray that is changed to it: %v", value, err)
	}
	c.checkWrites(t, "changing to "+value.String(), c.ray, c.oneUpdate())
}

// goesBack gives the Ray the first spec again. What was refused before may have been tried
// once more in the meantime.
func (c *fieldCase) goesBack(t *testing.T, refusals int) {
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	if err := c.ray.change(ctx, c.spec(schema.Base())); err != nil {
		t.Fatalf("changing back: %v", err)
	}
	if _, err := c.ray.await(ctx, like(c.base)); err != nil {
		t.Fatalf("changing back: %v", err)
	}
	limits := c.oneUpdate()
	limits.refusals = refusals
	c.checkWrites(t, "changing back", c.ray, limits)
}

// isRefused checks that no Ray can have a value, and that the message says where it is.
func (c *fieldCase) isRefused(t *testing.T, value schema.Value) {
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	spec := c.spec(c.leaf.Group(value))
	_, err := c.scene.create(t, c.ray.name+"-refused", spec)
	c.checkRefusal(t, "creating a Ray with "+value.String(), err)
	generation := c.ray.last.Generation
	c.checkRefusal(t, "changing a Ray to "+value.String(), c.ray.change(ctx, spec))
	c.checkGeneration(ctx, t, value, generation)
}

// checkGeneration checks that the spec of the Ray is still that of a generation.
func (c *fieldCase) checkGeneration(ctx context.Context, t *testing.T, value schema.Value, want int64) {
	t.Helper()
	stored, err := rays.RayV1().Rays(c.scene.namespace).Get(ctx, c.ray.name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if stored.Generation != want {
		t.Errorf("%s: the refused value made generation %d of %d", value, stored.Generation, want)
	}
}

// checkRefusal checks that an error is the API server's and names the leaf.
func (c *fieldCase) checkRefusal(t *testing.T, what string, err error) {
	t.Helper()
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		t.Errorf("%s: got %v, want the API server to refuse it", what, err)
		return
	}
	field, parent := c.leaf.Field()
	group := "spec." + string(c.role) + "."
	// A rule of an object is told with the object's name, and has the leaf's in its text.
	if !strings.Contains(err.Error(), group+field) &&
		(!strings.Contains(err.Error(), group+parent) || !strings.Contains(err.Error(), c.leaf.Last())) {
		t.Errorf("%s: the message does not name %s: %v", what, group+field, err)
	}
}

// isKeptOut checks that a value that Kubernetes refuses in a Deployment does nothing to one:
// either the Ray is refused, too, or it says why it is not healthy.
func (c *fieldCase) isKeptOut(t *testing.T, value schema.Value, refusal string) {
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	before, err := c.ray.read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	what := "changing a Ray to " + value.String()
	if err := c.ray.change(ctx, c.spec(c.leaf.Group(value))); err != nil {
		c.checkRefusal(t, what, err)
		return
	}
	after, err := c.ray.await(ctx, unhealthy(refusal))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if diff := childrenDiff(before, after); diff != "" {
		t.Errorf("%s changed the children:\n%s", what, diff)
	}
	c.checkWrites(t, what, c.ray, allowed{refusals: maxRefusals})
}

// unhealthy is the goal that a Ray says why the API server has refused something.
func unhealthy(refusal string) goal {
	return func(state *history.State) error {
		ray := &state.Rays[0]
		for _, condition := range ray.Status.Conditions {
			if condition.Type == rayv1.RayHealth && condition.Status == corev1.ConditionFalse &&
				ray.Status.ObservedGeneration == ray.Generation && strings.Contains(withoutIndex(condition.Message), withoutIndex(refusal)) {
				return nil
			}
		}
		return fmt.Errorf("no condition says %q: %+v", refusal, ray.Status.Conditions)
	}
}

// likeRenamed is the goal that all is as for a Ray of another name.
func likeRenamed(fresh *history.State) goal {
	fresh = withoutRendering(fresh)
	return func(state *history.State) error {
		if diff := oracle.Diff(withoutRendering(state), fresh); diff != "" {
			return errors.New(diff)
		}
		return nil
	}
}

// allowed is how much may be written in one step.
type allowed struct {
	creates, deployments, services, refusals int
}

const (
	// maxStatuses is for the new generation, for the end, and for progress between them.
	maxStatuses = 3
	// maxRefusals is what is tried again, at intervals that double, until a case goes on.
	maxRefusals = 16
)

// oneUpdate allows what one change of the leaf takes.
func (c *fieldCase) oneUpdate() allowed {
	limits := allowed{deployments: 1}
	if c.role == rayv1.RoleHead && strings.HasPrefix(c.leaf.Name(), "template/spec/containers/ports/") {
		limits.services = 1
	}
	return limits
}

// checkWrites checks how much was written for a Ray since the last check.
func (c *fieldCase) checkWrites(t *testing.T, what string, ray *trackedRay, limits allowed) {
	t.Helper()
	counts := map[string]int{}
	var all []string
	for _, write := range ray.writes() {
		if write.Resource == history.Events {
			continue
		}
		all = append(all, write.String())
		switch {
		case !write.Committed():
			counts["refused"]++
		case write.Verb == "create":
			counts["create"]++
		default:
			counts[write.Verb+" "+write.Resource]++
		}
	}
	for kind, limit := range map[string]int{
		"create": limits.creates, "refused": limits.refusals + conflicts, "update " + history.RayStatus: maxStatuses,
		"update " + history.Deployments: limits.deployments, "update " + history.Services: limits.services,
	} {
		if counts[kind] > limit {
			t.Errorf("%s: %d times %s, allowed are %d:\n%s", what, counts[kind], kind, limit, strings.Join(all, "\n"))
		}
		delete(counts, kind)
	}
	if len(counts) > 0 {
		t.Errorf("%s: there are writes of another kind:\n%s", what, strings.Join(all, "\n"))
	}
}

// conflicts is how many writes may meet one of the Deployment controller's.
const conflicts = 2

// whyUnreachable says why Kubernetes takes no value of a leaf, if it does not.
func whyUnreachable(leaf schema.Leaf) string {
	i := slices.IndexFunc(unreachable, func(u unreachableLeaf) bool { return u.at.MatchString(leaf.Name()) })
	if i < 0 {
		return ""
	}
	return unreachable[i].why
}
