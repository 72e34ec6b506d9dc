package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// store is the etcd of the cluster, if TestInfrastructure may break it.
var store *etcd

// lead is how long before a component goes the first user may act.
const lead = 300 * time.Millisecond

// TestInfrastructure takes away what the operator stands on, while all workloads are under
// way side by side. It needs a cluster to itself.
func TestInfrastructure(t *testing.T) {
	if store == nil {
		t.Skip("needs a cluster that it may break: run hack/faults.sh")
	}
	tool := filepath.Join(t.TempDir(), "cluster")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", filepath.Join(*root, "hack", "cluster"), "-o", tool, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	selected := false
	for i := range outages {
		st := &stage{outage: &outages[i], tool: tool, begun: make(chan struct{}), over: make(chan struct{})}
		for j := range workloads {
			p := &play{name: "infrastructure/" + st.outage.name + "/" + workloads[j].name, workload: &workloads[j]}
			c := testCase{name: p.name}
			if c.selected() {
				st.plays = append(st.plays, p)
			}
		}
		if len(st.plays) > 0 {
			selected = true
			st.run(t)
		}
	}
	if !selected {
		t.Fatalf("there is no case %q", *only)
	}
}

// stage is where all workloads meet one outage.
type stage struct {
	outage *outage
	// tool is the program of hack/cluster.
	tool   string
	random *rand.Rand
	plays  []*play

	// ready and acted count the plays that are not at that point yet.
	ready, acted sync.WaitGroup
	// begun is closed when users may act, over when all components are back.
	begun, over chan struct{}
	// err is why the outage could not be brought about. It is set before it is over.
	err error
}

// play is one workload on a stage.
type play struct {
	name     string
	workload *workload
	scene    *scene
	// delay is how long after the others the user acts.
	delay time.Duration
	// problems are what was found during the outage.
	problems []string
}

// run runs the plays as tests, all at the same time.
func (st *stage) run(t *testing.T) {
	parallel, err := strconv.Atoi(flag.Lookup("test.parallel").Value.String())
	if err != nil || parallel < len(st.plays) {
		t.Fatalf("needs -parallel %d, since the workloads wait for each other", len(st.plays))
	}
	st.random = randomOf(st.outage.name)
	st.ready.Add(len(st.plays))
	st.acted.Add(len(st.plays))
	t.Run("infrastructure/"+st.outage.name, func(t *testing.T) { // It ends when all plays have ended.
		for _, p := range st.plays {
			p.delay = time.Duration(randomOf(p.name).Int64N(int64(lead)))
			t.Run(p.workload.name, func(t *testing.T) {
				t.Parallel()
				st.perform(t, p)
			})
		}
		// The plays go on when this function has returned.
		go func() {
			defer close(st.over)
			st.ready.Wait()
			st.err = st.outage.strike(t.Context(), st)
			st.begin() // also if it has failed before
		}()
	})
}

// randomOf returns random numbers that follow from the seed and a name alone, so that they are the
// same whatever else is run.
func randomOf(name string) *rand.Rand { return rand.New(rand.NewPCG(*seed, hash(name))) }

// begin lets the users act. It may be called again.
func (st *stage) begin() {
	select {
	case <-st.begun:
	default:
		close(st.begun)
	}
}

// cluster runs a command of hack/cluster on the cluster.
func (st *stage) cluster(ctx context.Context, command string, components ...string) error {
	dir, err := filepath.Abs(filepath.Dir(*kubeconfig))
	if err != nil {
		return err
	}
	run := exec.CommandContext(ctx, st.tool, append([]string{command, "--name", *breakable, "--dir", dir}, components...)...)
	run.Dir = filepath.Join(*root, "hack", "cluster")
	if out, err := run.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", command, components, err, out)
	}
	return nil
}

// perform brings a Ray to where the workload begins, acts when all others do, and judges
// what came of it once all components are back.
func (st *stage) perform(t *testing.T, p *play) {
	ready, acted := sync.OnceFunc(st.ready.Done), sync.OnceFunc(st.acted.Done)
	defer sayHowToRepeat(t, p.name)
	defer acted() // also if it fails before
	defer ready()
	w := p.workload
	want := &oracle.Expectation{Writes: w.writes, Allowance: w.allow(st.outage.allowance, 0), ObservedHealth: true}
	if w.to != nil {
		want.Fresh = fresh(t, w.to)
	}
	p.begin(t)
	ready()
	<-st.begun
	time.Sleep(p.delay)
	if err := p.insist(t.Context()); err != nil {
		t.Error(err)
	}
	acted()
	<-st.over
	if st.err != nil {
		t.Fatalf("the outage: %v", st.err)
	}

	// The operator has this long from when all components are back.
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	back := time.Now()
	goal := observed((&faultCase{workload: w}).goal(want.Fresh))
	h := p.scene.finish(ctx, t, goal)
	select {
	case <-p.scene.operator.crashed:
		t.Error("the operator ended by itself")
	default:
	}
	for _, problem := range p.problems {
		t.Error(problem)
	}
	for _, violation := range oracle.Check(h, want) {
		t.Error(violation)
	}
	if !h.Converged.IsZero() {
		t.Logf("it was as wanted %.1f s after all components were back", h.Converged.Sub(back).Seconds())
	}
	t.Logf("it wrote\n%s", transcript(h))
}

// observed is a goal, and that the Deployment controller has done its work too. It may be
// late: then a Ray can look as wanted for as long as nobody has looked at its Deployments.
func observed(goal goal) goal {
	return func(state *history.State) error {
		for i := range state.Deployments {
			deployment := &state.Deployments[i]
			if metav1.GetControllerOf(deployment) != nil && !oracle.Complete(deployment) {
				return fmt.Errorf("the Deployment %s is not complete", deployment.Name)
			}
		}
		return goal(state)
	}
}

// begin makes the scene, with the Ray as it is before.
func (p *play) begin(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	p.scene = newScene(t)
	if p.workload.from != nil {
		base := fresh(t, p.workload.from)
		if err := createRay(ctx, p.scene.namespace, p.workload.from); err != nil {
			t.Fatal(err)
		}
		if err := p.scene.await(ctx, like(base)); err != nil {
			t.Fatalf("before the outage: %v", err)
		}
	}
	if err := p.scene.arm(ctx, nil); err != nil {
		t.Fatal(err)
	}
}

// ofChildren are the workloads that do something to a child. To do it twice is not the same
// as to do it once, since the operator may have answered in between.
var ofChildren = map[string]bool{"child-deleted": true, "child-edited": true, "service-edited": true}

// insist acts until the API server has taken it: it may be away.
func (p *play) insist(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*(*patience))
	defer cancel()
	w := p.workload
	steps := []func(context.Context, string) error{w.do}
	if w.name == "recreate" {
		steps = []func(context.Context, string) error{
			deleteRay(metav1.DeletePropagationBackground),
			func(ctx context.Context, namespace string) error { return createRay(ctx, namespace, w.to) },
		}
	}
	before := p.scene.recorder.length()
	for _, step := range steps {
		for {
			err := step(ctx, p.scene.namespace)
			// It may have been done before, and the answer was lost.
			if err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
				break
			}
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("the user could not act: %w", err)
			}
			if ofChildren[w.name] && p.scene.recorder.childChanged(before) {
				break
			}
		}
	}
	return nil
}

// length returns how many versions there are.
func (r *recorder) length() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.versions)
}

// childChanged tells whether, after so many versions, anybody has changed the spec of a
// child or deleted one.
func (r *recorder) childChanged(after int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	generations := map[types.UID]int64{}
	for i := range r.versions {
		object, deleted := r.versions[i].Object, r.versions[i].Deleted
		isChild := r.versions[i].Resource != history.Rays
		// A Service has no generation, and nobody but the operator and the user writes it.
		if isChild && i >= after && (deleted || object.GetGeneration() == 0 || object.GetGeneration() > generations[object.GetUID()]) {
			return true
		}
		generations[object.GetUID()] = object.GetGeneration()
	}
	return false
}

// unobserved returns a Deployment that nobody has looked at, by the UID of the Ray that it
// belongs to.
func unobserved(state *history.State) map[types.UID]*appsv1.Deployment {
	found := map[types.UID]*appsv1.Deployment{}
	for i := range state.Deployments {
		deployment := &state.Deployments[i]
		owner := metav1.GetControllerOf(deployment)
		if owner != nil && deployment.Status.ObservedGeneration < deployment.Generation {
			found[owner.UID] = deployment
		}
	}
	return found
}

// awaitUnobserved waits until the operator has done what it can while nobody looks at
// Deployments.
func (p *play) awaitUnobserved(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, *patience)
	defer cancel()
	err := p.scene.await(ctx, func(state *history.State) error {
		if p.changesDeployments() && len(unobserved(state)) == 0 {
			return errors.New("nobody should look at Deployments, and there is none that nobody has looked at")
		}
		return nil
	})
	return errors.Join(err, p.scene.quiet(ctx, 2*holdQuiet))
}

// falseHealth returns which Rays claim to be well while nobody has looked at a Deployment
// of theirs. One that nobody but others has changed may do so: no Pod of it has changed yet.
func (p *play) falseHealth(ctx context.Context) ([]string, error) {
	state, err := readState(ctx, p.scene.namespace)
	if err != nil {
		return nil, err
	}
	found := unobserved(state)
	var problems []string
	for i := range state.Rays {
		ray := &state.Rays[i]
		deployment := found[ray.UID]
		if deployment == nil || !oracle.Healthy(ray) || ray.Generation == 1 && deployment.Status.ObservedGeneration > 0 {
			continue
		}
		problems = append(problems, "the Ray claims to be healthy, and nobody has looked at its Deployment "+deployment.Name)
	}
	return problems, nil
}
