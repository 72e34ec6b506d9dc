package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

var (
	earlier = metav1.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	later   = metav1.Date(2026, time.January, 1, 0, 0, 9, 0, time.UTC)
)

// availableGroup returns a group all of whose replicas are available, and changed.
func availableGroup(role rayv1.Role, desired int32, change func(*groupObservation)) groupObservation {
	group := groupObservation{name: string(role), role: role, desired: &desired, deployment: &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Generation: 3},
		Status: appsv1.DeploymentStatus{
			ObservedGeneration: 3,
			Replicas:           desired, UpdatedReplicas: desired, ReadyReplicas: desired, AvailableReplicas: desired,
			Conditions: []appsv1.DeploymentCondition{
				{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue, Reason: "Available", Message: "It is."},
			},
		},
	}}
	if change != nil {
		change(&group)
	}
	return group
}

// ofStatus makes a change of a group out of one of its Deployment's status.
func ofStatus(change func(*appsv1.DeploymentStatus)) func(*groupObservation) {
	return func(group *groupObservation) { change(&group.deployment.Status) }
}

func failingReplicas(message string) func(*groupObservation) {
	return ofStatus(func(s *appsv1.DeploymentStatus) {
		s.AvailableReplicas = 1
		s.Conditions = append(s.Conditions, appsv1.DeploymentCondition{
			Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: message,
		})
	})
}

func TestHealth(t *testing.T) {
	unobserved := func(group *groupObservation) { group.deployment.Status = appsv1.DeploymentStatus{} }
	absent := func(group *groupObservation) { group.desired, group.deployment = nil, nil }
	tests := []struct {
		name         string
		service      error
		head, worker func(*groupObservation)
		want         string
	}{
		{
			name: "everything is available",
			want: "True AllReplicasAvailable: ",
		},
		{
			name:   "there are no workers, and none are wanted",
			worker: absent,
			want:   "True AllReplicasAvailable: ",
		},
		{
			name: "nothing has been observed",
			head: unobserved, worker: unobserved,
			want: "Unknown DeploymentsUnobserved: head: the Deployment has not been observed yet; worker: the Deployment has not been observed yet",
		},
		{
			name: "the only group has not been observed",
			head: unobserved, worker: absent,
			want: "Unknown DeploymentsUnobserved: head: the Deployment has not been observed yet",
		},
		{
			name: "one group has not been observed, and the other is known to be incomplete",
			head: unobserved, worker: ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 0 }),
			want: "False RolloutIncomplete: head: the Deployment has not been observed yet; worker: 0 of 3 available",
		},
		{
			name:   "there is no Deployment",
			worker: func(group *groupObservation) { group.deployment = nil },
			want:   "False RolloutIncomplete: worker: the Deployment does not exist",
		},
		{
			name:   "the newest generation has not been observed",
			worker: ofStatus(func(s *appsv1.DeploymentStatus) { s.ObservedGeneration = 2 }),
			want:   "False RolloutIncomplete: worker: the Deployment's newest generation has not been observed yet",
		},
		{
			name:   "a Pod is not available",
			worker: ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 2 }),
			want:   "False RolloutIncomplete: worker: 2 of 3 available",
		},
		{
			name:   "a Pod has the old template",
			worker: ofStatus(func(s *appsv1.DeploymentStatus) { s.UpdatedReplicas = 2 }),
			want:   "False RolloutIncomplete: worker: 2 of 3 updated",
		},
		{
			name:   "an old Pod is left",
			worker: ofStatus(func(s *appsv1.DeploymentStatus) { s.Replicas = 4 }),
			want:   "False RolloutIncomplete: worker: 1 old replicas are pending termination",
		},
		{
			name: "a head is new beside workers that are known",
			head: ofStatus(func(s *appsv1.DeploymentStatus) { s.ObservedGeneration = 0 }),
			want: "False RolloutIncomplete: head: the Deployment has not been observed yet",
		},
		{
			name: "Pods are missing since the rollout is paused",
			worker: func(group *groupObservation) {
				group.deployment.Spec.Paused = true
				group.deployment.Status.UpdatedReplicas = 2
			},
			want: "False RolloutIncomplete: worker: 2 of 3 updated: the Deployment is paused",
		},
		{
			name: "both groups are incomplete",
			head: ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 0 }), worker: ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 1 }),
			want: "False RolloutIncomplete: head: 0 of 1 available; worker: 1 of 3 available",
		},
		{
			name:   "Pods are refused",
			worker: failingReplicas(`pods "x" is forbidden: exceeded quota`),
			want:   `False ReplicaFailure: worker: 1 of 3 available: pods "x" is forbidden: exceeded quota`,
		},
		{
			name: "Pods of the workers are refused, while the head is only on its way",
			head: ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 0 }), worker: failingReplicas("exceeded quota"),
			want: "False ReplicaFailure: head: 0 of 1 available; worker: 1 of 3 available: exceeded quota",
		},
		{
			name: "a condition says that Pods are no longer refused",
			worker: func(group *groupObservation) {
				failingReplicas("x")(group)
				group.deployment.Status.Conditions[1].Status = corev1.ConditionFalse
			},
			want: "False RolloutIncomplete: worker: 1 of 3 available",
		},
		{
			name:    "the Service has a problem, which comes first",
			service: blocked(reasonAlreadyExists, "Service", "x", "taken"),
			worker:  ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 2 }),
			want:    "False AlreadyExists: Service \"x\" taken; worker: 2 of 3 available",
		},
		{
			name:   "a problem gives the reason before what is missing does",
			head:   ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 0 }),
			worker: func(group *groupObservation) { group.err = blocked(reasonAlreadyExists, "Service", "x", "taken") },
			want:   "False AlreadyExists: head: 0 of 1 available; worker: Service \"x\" taken",
		},
		{
			name:    "there is only a problem, and nothing has been observed",
			service: failed(reasonFailedCreate, "Service", "x", errors.New("no")),
			head:    unobserved, worker: unobserved,
			want: "False FailedCreate: Service \"x\" could not be created: no; head: the Deployment has not been observed yet; worker: the Deployment has not been observed yet",
		},
		{
			name: "workers that are no longer wanted cannot be deleted",
			worker: func(group *groupObservation) {
				absent(group)
				group.err = failed(reasonFailedDelete, "Deployment", "x", errors.New("no"))
			},
			want: "False FailedDelete: worker: Deployment \"x\" could not be deleted: no",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			health := newHealth(&observation{service: test.service, groups: []groupObservation{
				availableGroup(rayv1.RoleHead, 1, test.head),
				availableGroup(rayv1.RoleWorker, 3, test.worker),
			}}, false)
			if got := string(health.Status) + " " + health.Reason + ": " + health.Message; got != test.want {
				t.Errorf("got\n%s, want\n%s", got, test.want)
			}
		})
	}
}

func TestNothingWantedIsHealthy(t *testing.T) {
	health := newHealth(&observation{groups: []groupObservation{availableGroup(rayv1.RoleHead, 0, nil)}}, false)
	if health.Status != corev1.ConditionTrue {
		t.Errorf("Health is %v, want True", health)
	}
}

// TestHealthStays has Deployments of a healthy Ray that somebody else has changed.
func TestHealthStays(t *testing.T) {
	newGeneration := func(d *appsv1.Deployment) { d.Generation++ }
	tests := []struct {
		name string
		// ray changes the Ray.
		ray  func(*rayv1.Ray)
		head func(*appsv1.Deployment)
		want string
	}{
		{
			name: "nobody has seen the change yet, so that it has changed no Pod",
			head: newGeneration,
			want: healthy,
		},
		{
			name: "a Ray that was not healthy does not become so unseen",
			ray: func(ray *rayv1.Ray) {
				findCondition(ray.Status.Conditions, rayv1.RayHealth).Status = corev1.ConditionFalse
			},
			head: newGeneration,
			want: "False RolloutIncomplete: head: the Deployment's newest generation has not been observed yet",
		},
		{
			name: "nor does a new generation of it",
			ray:  func(ray *rayv1.Ray) { ray.Generation++ },
			head: newGeneration,
			want: "False RolloutIncomplete: head: the Deployment's newest generation has not been observed yet",
		},
		{
			name: "Pods are missing",
			head: func(d *appsv1.Deployment) {
				d.Generation++
				d.Status.AvailableReplicas = 0
			},
			want: "False RolloutIncomplete: head: 0 of 1 available",
		},
		{
			name: "it is another Deployment",
			head: func(d *appsv1.Deployment) { d.Status = appsv1.DeploymentStatus{} },
			want: "Unknown DeploymentsUnobserved: head: the Deployment has not been observed yet",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ray := readSample(t)
			ray.Generation, ray.Status.ObservedGeneration = 2, 2
			ray.Status.Conditions = []rayv1.RayCondition{{Type: rayv1.RayHealth, Status: corev1.ConditionTrue}}
			if test.ray != nil {
				test.ray(ray)
			}
			head := availableGroup(rayv1.RoleHead, 1, func(group *groupObservation) { test.head(group.deployment) })
			status := newStatus(ray, &observation{groups: []groupObservation{head}}, metav1.Now())
			health := findCondition(status.Conditions, rayv1.RayHealth)
			if got := strings.TrimSuffix(string(health.Status)+" "+health.Reason+": "+health.Message, ": "); got != test.want {
				t.Errorf("got\n%s, want\n%s", got, test.want)
			}
		})
	}
}

// TestNormalize has messages of the API server with a random Pod name.
func TestNormalize(t *testing.T) {
	tests := []struct{ name, message, want string }{
		{"a Pod of a Deployment", `pods "x-worker-7f69d5c8b4-2xk9p" is forbidden: exceeded quota`, `pods "x-worker-7f69d5c8b4-*" is forbidden: exceeded quota`},
		{"an invalid Pod", `Pod "x-worker-7f69d5c8b4-2xk9p" is invalid: spec`, `Pod "x-worker-7f69d5c8b4-*" is invalid: spec`},
		{"two Pods", `pod "a-bcdfg" and pod "a-hjklm"`, `pod "a-*" and pod "a-*"`},
		{"a name that is not random", `pods "worker" is forbidden`, `pods "worker" is forbidden`},
		{"another kind of object", `replicasets "x-bcdfg" is forbidden`, `replicasets "x-bcdfg" is forbidden`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := normalize(test.message); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	status := newStatus(readSample(t), &observation{groups: []groupObservation{
		availableGroup(rayv1.RoleHead, 1, failingReplicas(`pods "x-bcdfg" is forbidden`)),
	}}, later)
	if mirrored := findCondition(status.Conditions, rayv1.RayHeadDeploymentReplicaFailure); mirrored.Message != `pods "x-*" is forbidden` {
		t.Errorf("the mirrored message is %q", mirrored.Message)
	}
}

func TestNewStatus(t *testing.T) {
	ray := readSample(t)
	ray.Generation = 7
	before := ray.DeepCopy()
	observed := &observation{groups: []groupObservation{
		availableGroup(rayv1.RoleHead, 1, nil),
		availableGroup(rayv1.RoleWorker, 3, ofStatus(func(s *appsv1.DeploymentStatus) {
			s.Replicas, s.UpdatedReplicas, s.ReadyReplicas, s.AvailableReplicas, s.UnavailableReplicas = 5, 4, 3, 2, 1
		})),
	}}
	condition := func(conditionType rayv1.RayConditionType, status corev1.ConditionStatus, reason, message string) rayv1.RayCondition {
		return rayv1.RayCondition{
			Type: conditionType, Status: status, ObservedGeneration: 7, Reason: reason, Message: message,
			LastUpdateTime: later, LastTransitionTime: later,
		}
	}
	want := rayv1.RayStatus{
		ObservedGeneration: 7,
		StartTime:          &later,
		Head:               rayv1.HeadStatus{ReplicaCounts: rayv1.ReplicaCounts{Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}},
		Worker: &rayv1.WorkerStatus{
			ReplicaCounts: rayv1.ReplicaCounts{Replicas: 5, UpdatedReplicas: 4, ReadyReplicas: 3, AvailableReplicas: 2, UnavailableReplicas: 1},
			Selector:      "ray.kubeflow.org/name=sample-cluster,ray.kubeflow.org/role=worker",
		},
		Conditions: []rayv1.RayCondition{
			condition(rayv1.RayHealth, corev1.ConditionFalse, reasonProgressing, "worker: 2 of 3 available"),
			condition(rayv1.RayReady, corev1.ConditionFalse, reasonProgressing, "worker: 2 of 3 available"),
			condition(rayv1.RayHeadDeploymentProgressing, corev1.ConditionUnknown, "", ""),
			condition(rayv1.RayHeadDeploymentAvailable, corev1.ConditionTrue, "Available", "It is."),
			condition(rayv1.RayHeadDeploymentReplicaFailure, corev1.ConditionUnknown, "", ""),
			condition(rayv1.RayWorkerDeploymentProgressing, corev1.ConditionUnknown, "", ""),
			condition(rayv1.RayWorkerDeploymentAvailable, corev1.ConditionTrue, "Available", "It is."),
			condition(rayv1.RayWorkerDeploymentReplicaFailure, corev1.ConditionUnknown, "", ""),
		},
	}
	got := newStatus(ray, observed, later)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, ray); diff != "" {
		t.Errorf("the Ray was changed (-before +after):\n%s", diff)
	}

	ray.Status = got
	if again := newStatus(ray, observed, metav1.NewTime(later.Add(time.Hour))); !equality.Semantic.DeepEqual(got, again) {
		t.Errorf("where nothing has changed, the status has (-before +after):\n%s", cmp.Diff(got, again))
	}

	ray.Spec.Worker, observed.groups[1] = nil, groupObservation{name: "worker", role: rayv1.RoleWorker}
	headOnly := newStatus(ray, observed, later)
	if len(headOnly.Conditions) != 5 || headOnly.Worker != nil {
		t.Errorf("without workers there are still workers in the status: %v", headOnly)
	}
}

// TestObservedGeneration has the conditions of a Ray with a new generation, of which the Deployment
// controller has observed only the head's Deployment.
func TestObservedGeneration(t *testing.T) {
	ray := readSample(t)
	ray.Generation = 2
	ray.Status.Conditions = []rayv1.RayCondition{{Type: rayv1.RayWorkerDeploymentAvailable, ObservedGeneration: 1}}
	status := newStatus(ray, &observation{groups: []groupObservation{
		availableGroup(rayv1.RoleHead, 1, nil),
		availableGroup(rayv1.RoleWorker, 3, ofStatus(func(s *appsv1.DeploymentStatus) { s.ObservedGeneration = 2 })),
	}}, later)
	for conditionType, want := range map[rayv1.RayConditionType]int64{
		rayv1.RayHealth: 2, rayv1.RayReady: 2, rayv1.RayHeadDeploymentAvailable: 2, rayv1.RayWorkerDeploymentAvailable: 1,
	} {
		if got := findCondition(status.Conditions, conditionType).ObservedGeneration; got != want {
			t.Errorf("observedGeneration of %s is %d, want %d", conditionType, got, want)
		}
	}
}

func TestConditionTimes(t *testing.T) {
	old := rayv1.RayCondition{Status: corev1.ConditionFalse, Reason: "A", Message: "a", LastUpdateTime: earlier, LastTransitionTime: earlier}
	tests := []struct {
		name                       string
		change                     func(*rayv1.RayCondition)
		wantUpdate, wantTransition metav1.Time
	}{
		{"nothing has changed", func(*rayv1.RayCondition) {}, earlier, earlier},
		{"the reason has changed", func(c *rayv1.RayCondition) { c.Reason = "B" }, later, earlier},
		{"the message has changed", func(c *rayv1.RayCondition) { c.Message = "b" }, later, earlier},
		{"the status has changed", func(c *rayv1.RayCondition) { c.Status = corev1.ConditionTrue }, later, later},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			condition := old
			test.change(&condition)
			setTimes(&condition, &old, later)
			if condition.LastUpdateTime != test.wantUpdate || condition.LastTransitionTime != test.wantTransition {
				t.Errorf("update %v and transition %v, want %v and %v", condition.LastUpdateTime, condition.LastTransitionTime, test.wantUpdate, test.wantTransition)
			}
		})
	}
}

// TestTimesSurviveTheServer checks that a time which was written is the time that is read,
// or the status would differ forever.
func TestTimesSurviveTheServer(t *testing.T) {
	f := newHealthyFixture(t)
	status := f.ray().Status
	times := []metav1.Time{*status.StartTime, *status.LastReconcileTime}
	for _, condition := range status.Conditions {
		times = append(times, condition.LastTransitionTime, condition.LastUpdateTime)
	}
	for _, at := range times {
		if at.IsZero() || at.Nanosecond() != 0 {
			t.Errorf("time %v is no whole second", at)
		}
	}
	reconciled := status.LastReconcileTime
	f.clock.step(time.Hour)
	f.checkSync(nil, nil, nil)
	if got := f.ray().Status.LastReconcileTime; !got.Equal(reconciled) {
		t.Errorf("at rest, lastReconcileTime has moved from %v to %v", reconciled, got)
	}
}
