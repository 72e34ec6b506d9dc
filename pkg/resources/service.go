package resources

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// wellKnownPorts are the ports of a Ray head as Ray's documentation names and numbers
// them (https://docs.ray.io/en/latest/ray-core/configure.html, "Ports configurations").
var wellKnownPorts = []corev1.ContainerPort{
	{Name: "gcs", ContainerPort: 6379, Protocol: corev1.ProtocolTCP},
	{Name: "dashboard", ContainerPort: 8265, Protocol: corev1.ProtocolTCP},
	{Name: "client", ContainerPort: 10001, Protocol: corev1.ProtocolTCP},
	{Name: "metrics", ContainerPort: 8080, Protocol: corev1.ProtocolTCP},
	{Name: "serve", ContainerPort: 8000, Protocol: corev1.ProtocolTCP},
}

// NewService returns the Service in front of a Ray's head. The workers and the users
// of the cluster reach the head under its name.
func NewService(ray *rayv1.Ray) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: newObjectMeta(ray, rayv1.RoleHead, ServiceName(ray)),
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Selector: selectorLabels(ray, rayv1.RoleHead),
			Ports:    newServicePorts(headPorts(ray)),
		},
	}
}

// headPorts returns the ports that the head's first container lists, or the well-known
// ones if it lists none.
func headPorts(ray *rayv1.Ray) []corev1.ContainerPort {
	containers := ray.Spec.Head.Template.Spec.Containers
	if len(containers) == 0 || len(containers[0].Ports) == 0 {
		return wellKnownPorts
	}
	return containers[0].Ports
}

// newServicePorts returns one Service port per container port. Service ports must have
// names, and different ones.
func newServicePorts(ports []corev1.ContainerPort) []corev1.ServicePort {
	used := sets.New[string]()
	for _, port := range ports {
		used.Insert(port.Name)
	}
	result := make([]corev1.ServicePort, 0, len(ports))
	for _, port := range ports {
		protocol := port.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		name := port.Name
		if name == "" {
			name = unusedPortName(port.ContainerPort, protocol, used)
			used.Insert(name)
		}
		result = append(result, corev1.ServicePort{
			Name:       name,
			Protocol:   protocol,
			Port:       port.ContainerPort,
			TargetPort: intstr.FromInt32(port.ContainerPort),
		})
	}
	return result
}

// unusedPortName names a port that its container leaves without a name: by what Ray
// uses it for, else by its number, and by its protocol too where that is taken.
func unusedPortName(port int32, protocol corev1.Protocol, used sets.Set[string]) string {
	for _, known := range wellKnownPorts {
		if known.ContainerPort == port && known.Protocol == protocol && !used.Has(known.Name) {
			return known.Name
		}
	}
	if name := fmt.Sprintf("port-%d", port); !used.Has(name) {
		return name
	}
	return fmt.Sprintf("port-%d-%s", port, strings.ToLower(string(protocol)))
}
