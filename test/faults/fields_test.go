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

	scene *fieldScene
	// ray is changed to all values. start is its first spec, and first its first state.
	ray   *trackedRay
	start map[string]any
	first *history.State
}

// accepted is a value that Kubernetes takes, and what it makes of it.
type accepted struct {
	schema.Value
	want map[string]any
	// ray was created with the value, and fresh is its state then.
	ray   *trackedRay
	fresh *history.State
}

// declined is a value that Kubernetes takes in no Deployment, and what it says then.
type declined struct {
	schema.Value
	refusal []string
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
	fields.open(t)
	c.scene = &fields
	valid, invalid, reached := c.classify(t)
	if why := whyUnreachable(c.leaf); reached == (why != "") {
		t.Errorf("Kubernetes takes and keeps a value: %t; the table of leaves that it never takes says %q", reached, why)
	}
	for i := range valid {
		c.createFresh(t, &valid[i])
	}
	if len(valid) == 0 {
		c.begin(t)
	} else {
		c.ray, c.start, c.first = valid[0].ray, c.spec(c.leaf.Group(valid[0].Value)), valid[0].fresh
		c.changesToBase(t)
		for _, value := range valid[1:] {
			c.changesTo(t, value)
		}
		c.goesBack(t, 0)
	}
	for _, value := range c.values {
		if value.Refused {
			c.isRefused(t, value)
		}
	}
	for _, value := range invalid {
		c.isKeptOut(t, value)
	}
	c.goesBack(t, maxRefusals)
}

// classify asks Kubernetes about all values that the schema allows. Of those of which it
// makes the same, one is enough. reached says that it keeps one of them.
func (c *fieldCase) classify(t *testing.T) (valid []accepted, invalid []declined, reached bool) {
	known := map[string]bool{}
	for _, value := range c.values {
		if value.Refused {
			continue
		}
		want, refusal, err := dryRun(t.Context(), c.leaf.Group(value))
		if err != nil {
			t.Fatalf("%s in a Deployment: %v", value, err)
		}
		_, kept := c.leaf.In(want)
		reached = reached || kept
		made := string(mustJSON(want))
		switch {
		case len(refusal) > 0:
			invalid = append(invalid, declined{Value: value, refusal: refusal})
		case !known[made] || value.Unset || value.Name == "default": // these are the Ray's schema's
			known[made] = true
			valid = append(valid, accepted{Value: value, want: want})
		}
	}
	return valid, invalid, reached
}

// rayName is the same whenever the case runs.
func (c *fieldCase) rayName() string { return fmt.Sprintf("f%016x", hash(c.name)) }

// spec returns a spec whose group under test is the given one.
func (c *fieldCase) spec(group map[string]any) map[string]any {
	if c.role == rayv1.RoleHead {
		return map[string]any{"head": group}
	}
	return map[string]any{"head": schema.Base(), string(c.role): group}
}

// begin creates the Ray without the leaf, for want of a value that could be there.
func (c *fieldCase) begin(t *testing.T) {
	base := accepted{Value: schema.Value{Name: "the base"}}
	c.start = c.spec(schema.Base())
	c.createHealthy(t, &base, c.start)
	c.ray, c.first = base.ray, base.fresh
}

// createFresh creates a Ray with a value, whose Deployment has to be as one without the operator.
func (c *fieldCase) createFresh(t *testing.T, value *accepted) {
	c.createHealthy(t, value, c.spec(c.leaf.Group(value.Value)))
	deployment := &value.fresh.Deployments[len(value.fresh.Deployments)-1]
	if diff := templateDiff(value.want, deployment); diff != "" {
		t.Errorf("%s: the Deployment differs from one without the operator (-want +got):\n%s", value, diff)
	}
}

// createHealthy creates a Ray with a value, and waits for it.
func (c *fieldCase) createHealthy(t *testing.T, value *accepted, spec map[string]any) {
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	var err error
	if value.ray, err = c.scene.create(t, fmt.Sprintf("%s-%x", c.rayName(), hash(value.String())), spec); err != nil {
		t.Fatalf("creating a Ray with %s, which Kubernetes takes: %v", value, err)
	}
	if value.fresh, err = value.ray.await(ctx, healthy); err != nil {
		t.Fatalf("creating a Ray with %s: %v", value, err)
	}
	value.ray.checkWrites(t, "creating a Ray with "+value.String(), allowed{creates: len(value.fresh.Deployments) + 1})
}

// changesTo checks that the Ray comes to be as one that was created with the value.
func (c *fieldCase) changesTo(t *testing.T, value accepted) {
	c.becomes(t, "changing to "+value.String(), c.spec(c.leaf.Group(value.Value)), value.fresh, 0)
}

// changesToBase checks that the Ray comes to be as one that was created without the leaf.
func (c *fieldCase) changesToBase(t *testing.T) {
	base, err := c.scene.base(t, c.role, c.spec(schema.Base()))
	if err != nil {
		t.Fatalf("a Ray without the leaf: %v", err)
	}
	c.becomes(t, "dropping the leaf", c.spec(schema.Base()), base, 0)
}

// goesBack gives the Ray the first spec again. What was refused before may have been tried
// once more in the meantime.
func (c *fieldCase) goesBack(t *testing.T, refusals int) {
	c.becomes(t, "changing back", c.start, c.first, refusals)
}

// becomes changes the spec, and waits until all is as in the state of another Ray, or of
// this one.
func (c *fieldCase) becomes(t *testing.T, what string, spec map[string]any, fresh *history.State, refusals int) {
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	wanted := like(fresh)
	if name := fresh.Rays[0].Name; name != c.ray.name {
		other, err := renamed(fresh, name, c.ray.name)
		if err != nil {
			t.Fatal(err)
		}
		wanted = likeRenamed(other)
	}
	if err := c.ray.change(ctx, spec); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if _, err := c.ray.await(ctx, wanted); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	limits := c.oneUpdate()
	limits.refusals = refusals
	c.ray.checkWrites(t, what, limits)
}

// isRefused checks that no Ray can have a value, and that the message says where it is.
func (c *fieldCase) isRefused(t *testing.T, value schema.Value) {
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	spec := c.spec(c.leaf.Group(value))
	_, err := c.scene.create(t, c.rayName()+"-refused", spec)
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
func (c *fieldCase) isKeptOut(t *testing.T, value declined) {
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	before, err := c.ray.read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	what := "changing a Ray to " + value.String()
	if err := c.ray.change(ctx, c.spec(c.leaf.Group(value.Value))); err != nil {
		c.checkRefusal(t, what, err)
		return
	}
	after, err := c.ray.await(ctx, unhealthy(value.refusal))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if diff := childrenDiff(before, after); diff != "" {
		t.Errorf("%s changed the children:\n%s", what, diff)
	}
	c.ray.checkWrites(t, what, allowed{refusals: maxRefusals})
}

// quoted is how much of a cause a condition has at least. Long messages are cut.
const quoted = 200

// names tells whether a message has each cause of a refusal, as far as it was not cut.
func names(message string, refusal []string) bool {
	message = withoutIndex(message)
	named := 0
	for _, cause := range refusal {
		cause = withoutIndex(cause)
		if strings.Contains(message, cause[:min(len(cause), quoted)]) {
			named++
		}
	}
	return named == len(refusal) || named > 0 && strings.Contains(message, "…")
}

// unhealthy is the goal that a Ray says why the API server has refused something.
func unhealthy(refusal []string) goal {
	return func(state *history.State) error {
		ray := &state.Rays[0]
		for _, condition := range ray.Status.Conditions {
			if condition.Type == rayv1.RayHealth && condition.Status == corev1.ConditionFalse &&
				ray.Status.ObservedGeneration == ray.Generation && names(condition.Message, refusal) {
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

// whyUnreachable says why Kubernetes takes no value of a leaf, if it does not.
func whyUnreachable(leaf schema.Leaf) string {
	i := slices.IndexFunc(unreachable, func(u unreachableLeaf) bool { return u.at.MatchString(leaf.Name()) })
	if i < 0 {
		return ""
	}
	return unreachable[i].why
}
