/*
Copyright 2026 The ray-operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package resources

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// This file makes the state of a cluster outlive its head: the GCS stores it outside of the head's Pod. It
// applies to groups with a command, too. docs/ray.md explains each setting to users.

const (
	gcsVolume = "ray-gcs"
	gcsPath   = "/var/lib/ray/gcs"
	// reconnectSeconds is for how long a worker waits for a head that is away. By default it is a minute,
	// and pulling an image or attaching a volume can take longer.
	reconnectSeconds = 600

	redisUsernameEnv = "RAY_REDIS_USERNAME"
	redisPasswordEnv = "RAY_REDIS_PASSWORD"
)

// addGCSStorage adds to a template what the nodes of a group need if the GCS has a storage. What the user
// set remains.
func addGCSStorage(ray *rayv1.Ray, group Group, spec *corev1.PodSpec) {
	if group.GCS == nil {
		return
	}
	container := &spec.Containers[0]
	if !group.IsHead() {
		container.Env = prependMissing([]corev1.EnvVar{
			{Name: "RAY_gcs_rpc_server_reconnect_timeout_s", Value: strconv.Itoa(reconnectSeconds)},
		}, container.Env)
		return
	}
	if claim := group.GCS.VolumeClaim; claim != nil {
		source := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name}}
		mountVolume(spec, gcsPath, corev1.Volume{Name: gcsVolume, VolumeSource: source})
	}
	container.Env = prependMissing(gcsEnvironment(ray, group.GCS), container.Env)
	allowOneHead(ray, spec)
}

// gcsEnvironment returns Ray's variables for the storage of the GCS. The UID of a Ray separates its data
// from that of all other Rays with the same Redis.
func gcsEnvironment(ray *rayv1.Ray, gcs *rayv1.GCSSpec) []corev1.EnvVar {
	if gcs.Redis == nil {
		return []corev1.EnvVar{{Name: "RAY_gcs_storage", Value: "rocksdb"}, {Name: "RAY_gcs_storage_path", Value: gcsPath}}
	}
	env := []corev1.EnvVar{
		{Name: "RAY_REDIS_ADDRESS", Value: gcs.Redis.Address},
		{Name: "RAY_external_storage_namespace", Value: string(ray.UID)},
	}
	for _, credential := range redisCredentials {
		if reference := credential.reference(gcs.Redis); reference != nil {
			env = append(env, corev1.EnvVar{Name: credential.variable, ValueFrom: fromSecret(reference)})
		}
	}
	return env
}

// redisCredentials are the credentials of a Redis, and how Ray gets them: the kubelet replaces the
// variable in the flag, so that the secret is neither in the Ray nor in the Pod.
var redisCredentials = []struct {
	variable, flag string
	reference      func(*rayv1.RedisSpec) *rayv1.SecretKeyReference
}{
	{redisUsernameEnv, "--redis-username", func(redis *rayv1.RedisSpec) *rayv1.SecretKeyReference { return redis.UsernameSecretKeyRef }},
	{redisPasswordEnv, "--redis-password", func(redis *rayv1.RedisSpec) *rayv1.SecretKeyReference { return redis.PasswordSecretKeyRef }},
}

// gcsArgs returns the arguments of ray start of a head for the storage of the GCS.
func gcsArgs(gcs *rayv1.GCSSpec) []string {
	if gcs == nil || gcs.Redis == nil {
		return nil
	}
	var args []string
	for _, credential := range redisCredentials {
		if credential.reference(gcs.Redis) != nil {
			args = append(args, credential.flag+"=$("+credential.variable+")")
		}
	}
	return args
}

// allowOneHead makes a new head wait until the Pod of the old one is gone, unless the user requires another
// anti-affinity: two GCS must not write to one storage. Without it, the ReplicaSet replaces a deleted Pod while
// that terminates. All nodes of a cluster that can run a head have the same operating system.
func allowOneHead(ray *rayv1.Ray, spec *corev1.PodSpec) {
	if spec.Affinity == nil {
		spec.Affinity = &corev1.Affinity{}
	}
	if spec.Affinity.PodAntiAffinity == nil {
		spec.Affinity.PodAntiAffinity = &corev1.PodAntiAffinity{}
	}
	if terms := &spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution; len(*terms) == 0 {
		*terms = []corev1.PodAffinityTerm{{
			LabelSelector: &metav1.LabelSelector{MatchLabels: selectorLabels(ray, rayv1.RoleHead)},
			TopologyKey:   corev1.LabelOSStable,
		}}
	}
}
