package schema

import "regexp"

// rule is what Kubernetes wants for a field to be accepted, beyond what the schema says:
// enumerations, formats, unions, and references. It is no list of what is valid. Without a
// rule, a leaf is tried with values that Kubernetes refuses, which is a test, too.
type rule struct {
	// at is where the rule holds: the names at the end of a path, as a regular expression.
	at string
	// values are more values for a leaf.
	values []any
	// only says that no other values of its type may be tried.
	only bool
	// refused are values that the schema refuses by a rule in CEL.
	refused []any
	// with is added to the object at this place, or to that which has the leaf there; beside
	// to the object that has this one; spec to the Pod's spec. What there is already stays.
	with, beside, spec string
	// key is the key of a map, where not every one will do.
	key string
}

// picked returns rules that only have values.
func picked(at string, values ...any) rule { return rule{at: at, values: values} }

// rules are all rules. Where two say something about a field, the first one counts.
var rules = concat(groupRules, containerRules, podRules, volumeRules)

func concat(tables ...[]rule) []rule {
	var all []rule
	for _, table := range tables {
		all = append(all, table...)
	}
	return all
}

// groupRules are about what is Ray's own.
var groupRules = []rule{
	// Each replica is a Pod that is made.
	{at: `replicas`, values: []any{0, 1}, only: true, refused: []any{-1}},
	{at: `template/spec/restartPolicy`, values: []any{"Always"}, only: true, refused: []any{"", "Never"}},
}

// containerRules are about containers of any kind.
var containerRules = []rule{
	{at: `initContainers`, with: `{"image": "a"}`},
	{at: `initContainers/(lifecycle|\w+Probe|resizePolicy)`, beside: `{"restartPolicy": "Always"}`},
	{at: `env/valueFrom/fieldRef`, with: `{"fieldPath": "metadata.name"}`},
	picked(`fieldRef/fieldPath`, "status.podIP"),
	picked(`fieldRef/apiVersion`, "v1"),
	{at: `resourceFieldRef`, with: `{"resource": "limits.cpu", "containerName": "node"}`},
	picked(`resourceFieldRef/containerName`, "node"),
	picked(`resourceFieldRef/resource`, "requests.memory"),
	{at: `fileKeyRef`, with: `{"volumeName": "data"}`, spec: `{"volumes": [{"name": "data", "emptyDir": {}}]}`},
	picked(`fileKeyRef/volumeName`, "data"),
	{at: `(configMapKeyRef|secretKeyRef|configMapRef|secretRef|nodePublishSecretRef)`, with: `{"name": "a"}`},
	{at: `envFrom/prefix`, with: `{"configMapRef": {"name": "a"}}`},
	picked(`imagePullPolicy`, "Always", "Never"),

	picked(`httpGet/scheme`, "HTTPS"),
	{at: `lifecycle/stopSignal`, values: []any{"SIGTERM"}, spec: `{"os": {"name": "linux"}}`},
	{at: `\w+Probe/(failureThreshold|initialDelaySeconds|periodSeconds|successThreshold|terminationGracePeriodSeconds|timeoutSeconds)`, with: `{"tcpSocket": {"port": 80}}`},

	{at: `\w*ontainers/ports`, with: `{"containerPort": 80}`},
	picked(`ports/hostIP`, "10.0.0.1"),
	picked(`ports/(containerPort|hostPort)`, 65535),
	picked(`ports/protocol`, "UDP", "SCTP"),

	{at: `resizePolicy`, with: `{"resourceName": "cpu", "restartPolicy": "NotRequired"}`},
	picked(`resizePolicy/resourceName`, "memory"),
	picked(`resizePolicy/restartPolicy`, "RestartContainer"),
	{at: `resources/claims`, with: `{"name": "a"}`, spec: `{"resourceClaims": [{"name": "a", "resourceClaimName": "a"}]}`},
	{at: `\w*ontainers/resources/(limits|requests)`, key: "cpu"},
	{at: `\w*ontainers/restartPolicyRules`, with: `{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}`, beside: `{"restartPolicy": "Never"}`},
	{at: `restartPolicyRules/exitCodes`, with: `{"operator": "In", "values": [1]}`},
	picked(`restartPolicyRules/action`, "RestartAllContainers", "Restart"),
	picked(`restartPolicyRules/exitCodes/operator`, "NotIn"),
	picked(`\w*ontainers/restartPolicy`, "Always", "Never"),

	picked(`appArmorProfile/type`, "RuntimeDefault", "Unconfined"),
	{at: `appArmorProfile/localhostProfile`, with: `{"type": "Localhost"}`},
	picked(`seccompProfile/type`, "RuntimeDefault", "Unconfined"),
	{at: `seccompProfile/localhostProfile`, with: `{"type": "Localhost"}`},
	{at: `procMount`, values: []any{"Default", "Unmasked"}, spec: `{"hostUsers": false}`},
	{at: `windowsOptions/hostProcess`, spec: `{"hostNetwork": true, "securityContext": {"windowsOptions": {"hostProcess": true}}}`},
	picked(`terminationMessagePolicy`, "FallbackToLogsOnError"),

	{at: `volumeDevices`, with: `{"name": "data"}`, spec: `{"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "a"}}]}`},
	picked(`volumeDevices/name`, "data"),
	{at: `volumeMounts`, with: `{"name": "data"}`, spec: `{"volumes": [{"name": "data", "emptyDir": {}}]}`},
	picked(`volumeMounts/name`, "data"),
	picked(`volumeMounts/mountPropagation`, "HostToContainer"),
	{at: `volumeMounts/recursiveReadOnly`, values: []any{"IfPossible", "Disabled"}, with: `{"readOnly": true}`},
}

// podRules are about what a Pod's spec has besides containers and volumes.
var podRules = []rule{
	{at: `matchExpressions`, with: `{"operator": "In", "values": ["a"]}`},
	picked(`matchExpressions/operator`, "NotIn"),
	{at: `matchFields`, with: `{"key": "metadata.name", "operator": "In", "values": ["a"]}`},
	picked(`matchFields/key`, "metadata.name"),
	picked(`matchFields/operator`, "NotIn"),
	picked(`weight`, 100),
	{at: `(matchLabelKeys|mismatchLabelKeys)`, with: `{"labelSelector": {"matchLabels": {"team": "a"}}}`},
	{at: `topologySpreadConstraints`, with: `{"whenUnsatisfiable": "DoNotSchedule"}`},
	picked(`topologySpreadConstraints/whenUnsatisfiable`, "ScheduleAnyway"),
	picked(`(nodeAffinityPolicy|nodeTaintsPolicy)`, "Honor", "Ignore"),

	picked(`dnsConfig/nameservers`, "10.0.0.1"),
	picked(`dnsPolicy`, "Default", "ClusterFirst"),
	{at: `dnsConfig/options`, with: `{"name": "a"}`},
	{at: `hostAliases`, with: `{"ip": "10.0.0.1"}`},
	picked(`hostAliases/ip`, "10.0.0.2"),
	picked(`os/name`, "linux", "windows"),
	{at: `overhead`, key: "cpu"},
	picked(`preemptionPolicy`, "Never", "PreemptLowerPriority"),
	{at: `resourceClaims/name`, with: `{"resourceClaimName": "a"}`},
	{at: `template/spec/resources/(limits|requests)`, key: "cpu"},
	picked(`fsGroupChangePolicy`, "OnRootMismatch", "Always"),
	picked(`seLinuxChangePolicy`, "Recursive", "MountOption"),
	picked(`supplementalGroupsPolicy`, "Strict", "Merge"),
	picked(`sysctls/name`, "kernel.shm_rmid_forced"),
	{at: `tolerations/(effect|value|operator|tolerationSeconds)`, with: `{"key": "a"}`},
	picked(`tolerations/effect`, "NoSchedule", "NoExecute"),
	picked(`tolerations/operator`, "Exists", "Equal"),
	{at: `tolerations/tolerationSeconds`, with: `{"effect": "NoExecute"}`},
}

// rulesAt returns the rules for the place of a name.
func rulesAt(name string) []rule {
	var matching []rule
	for i := range rules {
		if expressions[i].MatchString(name) {
			matching = append(matching, rules[i])
		}
	}
	return matching
}

// expressions are the places of the rules.
var expressions = compile(rules)

func compile(rules []rule) []*regexp.Regexp {
	var compiled []*regexp.Regexp
	for i := range rules {
		compiled = append(compiled, regexp.MustCompile(`(^|/)(`+rules[i].at+`)$`))
	}
	return compiled
}

// rules returns the rules for the leaf.
func (l Leaf) rules() []rule { return l.steps[len(l.steps)-1].rules }

// handpicked tells whether the rules have all values for the leaf.
func (l Leaf) handpicked() bool {
	for _, rule := range l.rules() {
		if rule.only {
			return true
		}
	}
	return false
}

// picks returns the values that the rules have for the leaf.
func (l Leaf) picks() []Value {
	var values []Value
	for _, rule := range l.rules() {
		for _, value := range rule.values {
			values = append(values, Value{Name: "picked", JSON: value})
		}
		for _, value := range rule.refused {
			values = append(values, Value{Name: "against a rule", JSON: value, Refused: true})
		}
	}
	return values
}

// key returns the key that is used in the map behind a step.
func (l Leaf) key(step int) string {
	for _, rule := range l.steps[step].rules {
		if rule.key != "" {
			return rule.key
		}
	}
	return "key"
}
