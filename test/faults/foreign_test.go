package faults

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

const (
	// foreignRate is how often a foreign writer writes, per second.
	foreignRate = 50
	// foreignWrites is how often it does so in all.
	foreignWrites = 10 * foreignRate
	// foreignParallel is how many of its writes are on their way, so that it keeps its rate when the
	// API server takes longer than from one to the next.
	foreignParallel = 4
	// foreignPatience is for one writer after the other.
	foreignPatience = 5 * time.Minute
	// calmDown is how long a Ray may take to be as wanted after the last one.
	calmDown = 10 * time.Second
)

// foreignWriter is a client that does not know when to stop. Its last write leaves nothing
// behind that is not the operator's to undo.
type foreignWriter struct {
	name     string
	resource string
	object   string
	// patch returns a patch of the object.
	patch func(write int) string
	// answer is the update by which the operator undoes what is written, or follows it. It is
	// empty for what is none of its affair.
	answer string
}

var foreignWriters = []foreignWriter{
	{name: "ray/notes", resource: history.Rays, object: rayName, patch: note},
	{name: "ray/scale", resource: history.Rays, object: rayName, answer: updateWorker, patch: func(write int) string {
		return fmt.Sprintf(`{"spec":{"worker":{"replicas":%d}}}`, 2+(foreignWrites-write)%2)
	}},
	{name: "service/notes", resource: history.Services, object: rayName + "-head", patch: note},
	{name: "service/selector", resource: history.Services, object: rayName + "-head", answer: updateService, patch: func(write int) string {
		return fmt.Sprintf(`{"spec":{"selector":{"ray.kubeflow.org/role":"n%d"}}}`, write)
	}},
	{name: "head/notes", resource: history.Deployments, object: rayName + "-head", patch: note},
	{name: "head/template", resource: history.Deployments, object: rayName + "-head", answer: updateHead, patch: func(write int) string {
		return fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"head","image":"example.com/%d"}]}}}}`, write)
	}},
	{name: "worker/notes", resource: history.Deployments, object: rayName + "-worker", patch: note},
	{name: "worker/replicas", resource: history.Deployments, object: rayName + "-worker", answer: updateWorker, patch: func(write int) string {
		return fmt.Sprintf(`{"spec":{"replicas":%d}}`, 3+write%2)
	}},
}

// note is a patch that is no affair of the operator's.
func note(write int) string {
	if write == foreignWrites {
		return `{"metadata":{"annotations":{"example.com/note":null}}}`
	}
	return fmt.Sprintf(`{"metadata":{"annotations":{"example.com/note":"%d"}}}`, write)
}

// foreignTurn lets one foreign writer write at a time, or the API server could not bear them.
var foreignTurn sync.Mutex

// run writes all the time, for a while, and says if that was not as often as it should have been.
func (w *foreignWriter) run(ctx context.Context, namespace string) error {
	foreignTurn.Lock()
	defer foreignTurn.Unlock()
	write := func(number int) error {
		if err := patch(ctx, namespace, w.resource, w.object, w.patch(number)); err != nil {
			return fmt.Errorf("the foreign writer: %w", err)
		}
		return nil
	}
	begun := time.Now()
	var writes errgroup.Group
	writes.SetLimit(foreignParallel)
	tick := time.NewTicker(time.Second / foreignRate)
	defer tick.Stop()
	for i := range foreignWrites - 1 {
		writes.Go(func() error { return write(i + 1) })
		<-tick.C
	}
	if err := writes.Wait(); err != nil {
		return err
	}
	if rate := foreignWrites / time.Since(begun).Seconds(); rate < 0.9*foreignRate {
		fmt.Fprintf(os.Stderr, "foreign-writer/%s has written %.0f times a second, for want of CPU\n", w.name, rate)
	}
	return write(foreignWrites)
}

// foreignWriterCases have somebody write to the Ray or a child of it all the time.
func foreignWriterCases() []faultCase {
	var cases []faultCase
	for i := range foreignWriters {
		writer := &foreignWriters[i]
		c := faultCase{
			name:     "foreign-writer/" + writer.name,
			patience: foreignPatience,
			workload: &workload{name: "none", from: newSpec(), to: newSpec(), act: writer.run},
			then: func(ctx context.Context, s *scene, goal goal) error {
				ctx, cancel := context.WithTimeout(ctx, calmDown)
				defer cancel()
				return s.await(ctx, goal)
			},
		}
		switch {
		case writer.answer != "":
			// Each write of the other's may be answered by one, or make one fail.
			c.allowance = oracle.Allowance{LostEvents: true, Undone: map[string]int{writer.answer: foreignWrites}, Refused: foreignWrites}
			if writer.resource != history.Services { // which is none of Health's affair
				c.allowance.Recoveries = foreignWrites
			}
		case writer.resource == history.Deployments:
			c.allowance.OldRecords = true
		}
		cases = append(cases, c)
	}
	return cases
}

// patch patches an object of a resource.
func patch(ctx context.Context, namespace, resource, name, patch string) error {
	var err error
	switch resource {
	case history.Rays:
		_, err = rays.RayV1().Rays(namespace).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	case history.Services:
		_, err = kube.CoreV1().Services(namespace).Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	case history.Deployments:
		_, err = kube.AppsV1().Deployments(namespace).Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	}
	return err
}
