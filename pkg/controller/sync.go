package controller

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// sync brings one Ray's children and status to what its spec asks. It is safe to call at
// any time, and writes nothing if all is as it should be.
func (c *Controller) sync(ctx context.Context, key cache.ObjectName) error {
	logger := klog.FromContext(ctx)
	start := c.clock.Now()
	logger.V(4).Info("Started syncing")
	defer func() { logger.V(4).Info("Finished syncing", "duration", c.clock.Since(start).Round(time.Microsecond)) }()

	ray, err := c.cachesOf(key.Namespace).rays.Rays(key.Namespace).Get(key.Name)
	if err != nil {
		c.ownWrites.forget(key)
		c.refusals.forget(key)
		c.altered.Delete(key)
		c.progress.done(key)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	if ray.DeletionTimestamp != nil {
		// The garbage collector takes the children, or leaves them if it was told to.
		c.progress.done(key)
		return nil
	}
	if !c.ownWrites.visible(key) {
		return errBehind
	}
	if why, found := ray.Annotations[annotationUnreadable]; found {
		// Nobody knows what it asks for, so its children stay as they are.
		return c.syncStatus(ctx, ray, observation{ray: unreadable(why)})
	}

	// A webhook that hangs must not hold a worker for long, nor the status back.
	childrenCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	observed := c.syncChildren(childrenCtx, ray)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	problems := observed.problems()
	err = errors.Join(problems...)
	if slices.ContainsFunc(problems, namespaceTerminating) {
		logger.V(2).Info("Namespace is being deleted, and the Ray with it")
		c.progress.done(key)
		return nil
	}
	if errors.Is(err, errBehind) {
		return err
	}
	if failures := slices.DeleteFunc(problems, waits); len(failures) > 0 {
		err = errors.Join(failures...) // What waits for somebody else need not hold up the rest.
	}
	statusErr := c.syncStatus(ctx, ray, observed)
	if statusErr != nil && waits(err) {
		return statusErr // which need not wait for anybody
	}
	return errors.Join(err, statusErr)
}

// syncChildren makes the children of a Ray as it asks. A failure on one does not stop the
// others.
func (c *Controller) syncChildren(ctx context.Context, ray *rayv1.Ray) observation {
	observed := observation{groups: make([]groupState, 0, 2)}

	// The Service is the first to be created, since the Pods look its name up, but the
	// last to be changed: if the head's Deployment is refused, the head that runs has
	// to keep its ports.
	services := c.servicesOf(ray)
	service, err := getOrCreate(ctx, c, ray, services, resources.ServiceName(ray), func() *corev1.Service {
		return resources.NewService(ray)
	})

	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker} {
		state := groupState{role: role}
		if group := resources.Group(ray, role); group != nil {
			state.desired = new(resources.Replicas(group))
			state.deployment, state.err = c.syncDeployment(ctx, ray, role)
		} else {
			state.err = c.removeDeployment(ctx, ray, role)
		}
		observed.groups = append(observed.groups, state)
	}

	if err == nil {
		headRefused := observed.groups[0].err != nil
		_, err = mend(ctx, c, ray, services, service, func(have *corev1.Service) (*corev1.Service, []string) {
			return mendService(ray, have, headRefused)
		})
	}
	observed.service = err
	return observed
}

// syncStatus writes the status of a Ray if it differs from what was observed, and tells
// of it when the Ray has run into a problem.
func (c *Controller) syncStatus(ctx context.Context, ray *rayv1.Ray, observed observation) error {
	now := metav1.NewTime(c.clock.Now().Truncate(time.Second)) // as the API server keeps it
	status := newStatus(ray, observed, now)
	key := cache.MetaObjectToName(ray)
	// What has not changed was carried over as it is.
	if reflect.DeepEqual(&ray.Status, &status) || c.isAltered(key, &status) {
		c.progress.done(key)
		return nil
	}
	news := unknownProblems(ray, observed)
	if refused := c.refusals.of(ray, now.Time); refused != nil {
		c.progress.done(key)
		c.tellWithoutStatus(ray, refused, news, now.Time)
		return nil
	}
	if !slices.ContainsFunc(news, func(err error) bool { return isNew(ray, err) }) && !urgent(ray, status) {
		if wait := c.statusDelay(ray, &status, now.Time); wait > 0 {
			c.queue.AddAfter(key, wait)
			return nil
		}
	}
	status.LastReconcileTime = &now
	stored, err := c.updateStatus(ctx, ray, status)
	if err != nil && !apierrors.IsInvalid(err) {
		return err // and keeps the Ray's turn
	}
	c.progress.done(key)
	switch {
	case err != nil:
		klog.FromContext(ctx).Info("The API server refuses any status of the Ray as invalid, so events have to do for a while", "reason", words(err), "retryAfter", refusalTime)
		c.tellWithoutStatus(ray, c.refusals.record(ray, now.Time), news, now.Time)
		return nil
	case !equality.Semantic.DeepEqual(stored, &status):
		klog.FromContext(ctx).Info("The API server has stored another status than it was sent. Is the CustomResourceDefinition older than the operator?")
		c.altered.Store(key, &status)
	default:
		c.altered.Delete(key)
	}
	c.refusals.forget(key)
	c.tellProblems(ray, news)
	return nil
}

// isAltered tells whether the API server was sent a status before, and has stored another one.
func (c *Controller) isAltered(key cache.ObjectName, status *rayv1.RayStatus) bool {
	value, _ := c.altered.Load(key)
	sent, found := value.(*rayv1.RayStatus)
	return found && equality.Semantic.DeepEqual(withoutTimes(sent), withoutTimes(status))
}

// withoutTimes returns a copy of a status without its times. Those of what is stored otherwise
// change with each try.
func withoutTimes(status *rayv1.RayStatus) *rayv1.RayStatus {
	timeless := status.DeepCopy()
	timeless.StartTime, timeless.LastReconcileTime = nil, nil
	for i := range timeless.Conditions {
		timeless.Conditions[i].LastUpdateTime, timeless.Conditions[i].LastTransitionTime = metav1.Time{}, metav1.Time{}
	}
	return timeless
}

// statusDelay returns how long a status has to wait that is not urgent, and has no new problem.
func (c *Controller) statusDelay(ray *rayv1.Ray, status *rayv1.RayStatus, now time.Time) time.Duration {
	interval := minStatusInterval
	if onlyWords(ray, status) {
		// Each write wakes up a sync, which is a try, which may be refused in yet other words.
		interval = maxRetryDelay
	}
	// A time to come is another machine's, whose clock is ahead.
	var wait time.Duration
	if since := now.Sub(ray.Status.LastReconcileTime.Time); since >= 0 {
		wait = max(interval-since, 0)
	}
	if isNews(ray, status) {
		return wait
	}
	return c.progress.turn(cache.MetaObjectToName(ray), now, wait)
}

// tellWithoutStatus tells of problems while the API server refuses any status, and has it tried
// again when the refusal is over. Each sync until then asks for that anew: the queue keeps the
// earliest wake-up of a Ray alone, and so drops this one whenever there is a sooner one.
func (c *Controller) tellWithoutStatus(ray *rayv1.Ray, refused *refusal, problems []error, now time.Time) {
	c.tellProblems(ray, refused.untold(problems))
	c.queue.AddAfter(cache.MetaObjectToName(ray), refused.until.Sub(now))
}

// tellProblems emits an event for each problem.
func (c *Controller) tellProblems(ray *rayv1.Ray, problems []error) {
	for _, problem := range problems {
		reason, message := explain(problem)
		kind := corev1.EventTypeWarning
		if reason == reasonTerminating {
			kind = corev1.EventTypeNormal // it takes its time, and that is all
		}
		c.recorder.Event(ray, kind, reason, message)
	}
}

// unknownProblems returns those problems that the status does not name yet. The status
// knows them also after a restart, so that none is told twice.
func unknownProblems(ray *rayv1.Ray, observed observation) []error {
	health := findCondition(ray.Status.Conditions, rayv1.RayHealth)
	if health == nil {
		return observed.problems()
	}
	return slices.DeleteFunc(observed.problems(), func(problem error) bool {
		_, message := explain(problem)
		return strings.Contains(health.Message, message)
	})
}

// isNew tells whether the status of a Ray does not name a problem yet, in whatever words.
func isNew(ray *rayv1.Ray, err error) bool {
	health := findCondition(ray.Status.Conditions, rayv1.RayHealth)
	return health == nil || !strings.Contains(health.Message, settle(subject(err)))
}

// onlyWords tells whether a status differs from the Ray's in how it words what is wrong alone.
func onlyWords(ray *rayv1.Ray, status *rayv1.RayStatus) bool {
	after := findCondition(status.Conditions, rayv1.RayHealth)
	same := ray.Status.DeepCopy()
	before := findCondition(same.Conditions, rayv1.RayHealth)
	if before.Status != after.Status || before.Reason != after.Reason {
		return false
	}
	*before = *after
	return reflect.DeepEqual(same, status)
}

// urgent tells whether a status must be written at once. What is not urgent is progress,
// such as one more Pod that is ready: while Pods come and go, it comes many times a second.
func urgent(ray *rayv1.Ray, status rayv1.RayStatus) bool {
	before, after := findCondition(ray.Status.Conditions, rayv1.RayHealth), findCondition(status.Conditions, rayv1.RayHealth)
	return before == nil || ray.Status.LastReconcileTime == nil ||
		ray.Status.ObservedGeneration != status.ObservedGeneration ||
		(before.Status == corev1.ConditionTrue) != (after.Status == corev1.ConditionTrue)
}

// isNews tells whether a status is the first to say that Pods cannot be made, or that a problem of
// the operator's own is over. That waits for what else changes at the same time, but not for
// the progress of other Rays.
func isNews(ray *rayv1.Ray, status *rayv1.RayStatus) bool {
	before, after := findCondition(ray.Status.Conditions, rayv1.RayHealth), findCondition(status.Conditions, rayv1.RayHealth)
	return before.Reason != after.Reason && (after.Reason == reasonReplicaFailure || isProblem(before.Reason))
}

// problems returns what went wrong with the Ray and each child.
func (o observation) problems() []error {
	var errs []error
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	add(o.ray)
	add(o.service)
	for _, group := range o.groups {
		add(group.err)
	}
	return errs
}
