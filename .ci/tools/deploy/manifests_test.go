package deploy

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"helm.sh/helm/v3/pkg/chartutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/yaml"
)

// kubernetes compiles Kubernetes' own schema of a type, such as io.k8s.api.apps.v1.Deployment.
func kubernetes(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	text, err := json.Marshal(map[string]any{"definitions": openapi.Schema().Definitions})
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4)
	if err := compiler.AddResource("kubernetes.json", eitherWay(doc)); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("kubernetes.json#/definitions/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// eitherWay lets Kubernetes' "int-or-string" be both: its schema calls it a string.
func eitherWay(value any) any {
	switch value := value.(type) {
	case []any:
		for i := range value {
			value[i] = eitherWay(value[i])
		}
	case map[string]any:
		if value["format"] == "int-or-string" {
			return map[string]any{"type": []any{"integer", "string"}}
		}
		for name := range value {
			value[name] = eitherWay(value[name])
		}
	}
	return value
}

func TestManifestsAreThoseOfKubernetesSchemas(t *testing.T) {
	t.Parallel()
	types := map[string]*jsonschema.Schema{"ScaledObject": keda(t)}
	for kind, name := range map[string]string{
		"Deployment": "apps.v1.Deployment", "ConfigMap": "core.v1.ConfigMap", "Service": "core.v1.Service",
		"ServiceAccount": "core.v1.ServiceAccount", "PodDisruptionBudget": "policy.v1.PodDisruptionBudget",
		"NetworkPolicy": "networking.v1.NetworkPolicy",
	} {
		types[kind] = kubernetes(t, "io.k8s.api."+name)
	}
	seen := map[string]bool{}
	for name, values := range installations(t) {
		_, documents := install(t, values)
		for _, document := range documents {
			var object map[string]any
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				t.Fatal(err)
			}
			kind := object["kind"].(string)
			seen[kind] = true
			if types[kind] == nil { // Prometheus' types are read by install
				continue
			}
			if err := types[kind].Validate(object); err != nil {
				t.Errorf("%s: %s: %v", name, kind, err)
			}
		}
	}
	want := append(slices.Collect(maps.Keys(types)), "ServiceMonitor", "PrometheusRule")
	for _, kind := range want {
		if !seen[kind] {
			t.Errorf("no installation makes a %s", kind)
		}
	}
	// The schemas know what is required, and what there is.
	if types["ScaledObject"].Validate(map[string]any{"spec": map[string]any{"triggers": []any{}}}) == nil {
		t.Error("a ScaledObject without a target is accepted")
	}
	target := map[string]any{"name": "a", "nome": "a"}
	if types["ScaledObject"].Validate(map[string]any{"spec": map[string]any{"triggers": []any{}, "scaleTargetRef": target}}) == nil {
		t.Error("a ScaledObject with an unknown member is accepted")
	}
	if types["Deployment"].Validate(map[string]any{"spec": map[string]any{"template": map[string]any{}}}) == nil {
		t.Error("a Deployment without a selector is accepted")
	}
}

func TestPodsKeepToTheRestrictedStandard(t *testing.T) {
	t.Parallel()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range installations(t) {
		all, _ := install(t, values)
		pod := all.Deployment.Spec.Template
		level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
		for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
			if !result.Allowed {
				t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
		container := pod.Spec.Containers[0]
		if readOnly := container.SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
			t.Errorf("%s: the worker may write to its image", name)
		}
		if mounts := pod.Spec.AutomountServiceAccountToken; mounts == nil || *mounts {
			t.Errorf("%s: the worker gets a token for Kubernetes, and asks it nothing", name)
		}
		if container.Resources.Limits.Memory().IsZero() || container.Resources.Requests.Cpu().IsZero() {
			t.Errorf("%s: memory is not limited, or no processor is asked for", name)
		}
		privileged := pod.DeepCopy()
		privileged.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
		results := evaluator.EvaluatePod(level, &privileged.ObjectMeta, &privileged.Spec)
		if !slices.ContainsFunc(results, func(r policy.CheckResult) bool { return !r.Allowed }) {
			t.Error("a container that may get privileges passes for restricted")
		}
	}
}

func TestPodsAreAskedWhatTheWorkerAnswersAndEndedWhenItIsDone(t *testing.T) {
	t.Parallel()
	for name, values := range installations(t) {
		all, _ := install(t, values)
		pod := all.Deployment.Spec.Template.Spec
		container := pod.Containers[0]
		for probe, page := range map[*corev1.Probe]string{
			container.StartupProbe: "/healthz", container.LivenessProbe: "/healthz", container.ReadinessProbe: "/readyz",
		} {
			if probe == nil || probe.HTTPGet.Path != page || probe.HTTPGet.Port.StrVal != container.Ports[0].Name {
				t.Errorf("%s: a probe asks %+v, want %s on port %s", name, probe, page, container.Ports[0].Name)
			}
		}
		env := variables(t, all)
		if port := fmt.Sprintf("0.0.0.0:%d", container.Ports[0].ContainerPort); env["ADMIN_ADDR"] != port {
			t.Errorf("%s: ADMIN_ADDR is %s, and probes ask %s", name, env["ADMIN_ADDR"], port)
		}
		var grace int64
		if _, err := fmt.Sscanf(env["SHUTDOWN_GRACE"], "%ds", &grace); err != nil || *pod.TerminationGracePeriodSeconds < grace+10 {
			t.Errorf("%s: killed after %ds, and SHUTDOWN_GRACE is %s", name, *pod.TerminationGracePeriodSeconds, env["SHUTDOWN_GRACE"])
		}
	}
}

func TestEverythingInTheChartIsAboutTheSamePods(t *testing.T) {
	t.Parallel()
	for name, values := range installations(t) {
		all, _ := install(t, values)
		pod := labels.Set(all.Deployment.Spec.Template.Labels)
		port := all.Deployment.Spec.Template.Spec.Containers[0].Ports[0].Name
		selects := func(what string, selector *metav1.LabelSelector, set labels.Set) {
			t.Helper()
			if by, err := metav1.LabelSelectorAsSelector(selector); err != nil || by.Empty() || !by.Matches(set) {
				t.Errorf("%s: the %s does not select %v (error %v)", name, what, set, err)
			}
		}
		selects("Deployment", all.Deployment.Spec.Selector, pod)
		selects("Service", &metav1.LabelSelector{MatchLabels: all.Service.Spec.Selector}, pod)
		selects("PodDisruptionBudget", all.PodDisruptionBudget.Spec.Selector, pod)
		if all.Service.Spec.Ports[0].TargetPort.StrVal != port {
			t.Errorf("%s: the Service is for port %s, and the pods have %s", name, all.Service.Spec.Ports[0].TargetPort.StrVal, port)
		}
		if all.NetworkPolicy != nil {
			selects("NetworkPolicy", &all.NetworkPolicy.Spec.PodSelector, pod)
			if asked := all.NetworkPolicy.Spec.Ingress[0].Ports[0].Port.StrVal; asked != port {
				t.Errorf("%s: the NetworkPolicy lets in port %s, and the pods have %s", name, asked, port)
			}
		}
		if all.ServiceAccount.Name != all.Deployment.Spec.Template.Spec.ServiceAccountName {
			t.Errorf("%s: the pods run as %s, not %s", name, all.Deployment.Spec.Template.Spec.ServiceAccountName, all.ServiceAccount.Name)
		}
		if name != "full" {
			continue
		}
		selects("ServiceMonitor", &all.ServiceMonitor.Spec.Selector, all.Service.Labels)
		if endpoint := all.ServiceMonitor.Spec.Endpoints[0]; endpoint.Port != all.Service.Spec.Ports[0].Name || endpoint.Path != "/metrics" {
			t.Errorf("metrics are gathered from %s on port %s", endpoint.Path, endpoint.Port)
		}
		if all.ScaledObject.Spec.ScaleTargetRef.Name != all.Deployment.Name || all.Deployment.Spec.Replicas != nil {
			t.Error("KEDA scales another Deployment, or the chart sets the number of replicas that KEDA decides")
		}
		var consumers []string
		for _, trigger := range all.ScaledObject.Spec.Triggers {
			consumers = append(consumers, trigger.Metadata["stream"]+" "+trigger.Metadata["consumer"])
		}
		if want := []string{"LINEPAY_COMMANDS linepay-worker-tw", "LINEPAY_COMMANDS linepay-worker-th"}; !slices.Equal(consumers, want) {
			t.Errorf("KEDA looks at %v, want %v", consumers, want)
		}
	}
}

// variables are those of the worker's container; one that comes from a Secret is "secret <name> <key>", and one from the container's resources
// their name.
func variables(t *testing.T, all installed) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, variable := range all.Deployment.Spec.Template.Spec.Containers[0].Env {
		env[variable.Name] = variable.Value
		switch from := variable.ValueFrom; {
		case from == nil:
		case from.ResourceFieldRef != nil:
			env[variable.Name] = from.ResourceFieldRef.Resource
		default:
			env[variable.Name] = "secret " + from.SecretKeyRef.Name + " " + from.SecretKeyRef.Key
		}
	}
	return env
}

func TestWorkerTakesTheSettingsOfTheChart(t *testing.T) {
	t.Parallel()
	for name, values := range installations(t) {
		all, _ := install(t, values)
		container := all.Deployment.Spec.Template.Spec.Containers[0]
		mounted := container.VolumeMounts[0].MountPath
		dir := t.TempDir()
		for _, source := range all.Deployment.Spec.Template.Spec.Volumes[0].Projected.Sources {
			switch {
			case source.ConfigMap != nil && source.ConfigMap.Name == all.ConfigMap.Name:
				for _, item := range source.ConfigMap.Items {
					store(t, filepath.Join(dir, item.Path), all.ConfigMap.Data[item.Key])
				}
			case source.Secret != nil:
				for _, item := range source.Secret.Items {
					store(t, filepath.Join(dir, item.Path), secret(t, path.Ext(item.Path)))
				}
			}
		}
		env := variables(t, all)
		if of := env["GOMEMLIMIT"]; of != "limits.memory" {
			t.Errorf("%s: Go may take memory up to %q, want the container's limit", name, of)
		}
		delete(env, "GOMEMLIMIT") // which Go reads
		for variable, value := range env {
			if rest, inside := strings.CutPrefix(value, mounted); inside {
				env[variable] = dir + rest
			}
		}
		if env["LINEPAY_CHANNELS"] != dir+"/channels.yaml" {
			t.Errorf("%s: LINEPAY_CHANNELS is %s", name, env["LINEPAY_CHANNELS"])
		}
		accepts(t, env, container.Args...)
	}
}

// A changed Secret starts no new pods, and nobody can send a signal to the worker in a pod: it has to look by itself, at files that Kubernetes
// changes, which it does not do below a subPath.
func TestRotatedSecretNeedsNoStepByHand(t *testing.T) {
	t.Parallel()
	for name, values := range installations(t) {
		all, _ := install(t, values)
		if every, err := time.ParseDuration(variables(t, all)["RELOAD_EVERY"]); err != nil || every <= 0 || every > time.Minute {
			t.Errorf("%s: the worker looks for changes every %s (error %v)", name, every, err)
		}
		for _, mount := range all.Deployment.Spec.Template.Spec.Containers[0].VolumeMounts {
			if mount.SubPath != "" || mount.SubPathExpr != "" {
				t.Errorf("%s: %s is mounted from a subPath, and stays as it is for as long as the pod lives", name, mount.MountPath)
			}
		}
	}
}

// Other channels start new pods: the first one of them that cannot serve them stops the rollout.
func TestOtherChannelsStartNewPods(t *testing.T) {
	t.Parallel()
	template := func(values chartutil.Values) string {
		all, _ := install(t, values)
		return fmt.Sprint(all.Deployment.Spec.Template.Annotations)
	}
	before := template(installations(t)["minimal"])
	other := installations(t)["minimal"]
	other["channels"].([]any)[0].(map[string]any)["id"] = "1650000099"
	if before != template(installations(t)["minimal"]) || before == template(other) {
		t.Errorf("pods with the annotations %s stay when the channels change, or go when they do not", before)
	}
}

// secret is what a file of a Secret may hold: a certificate, its key, or any text.
func secret(t *testing.T, ending string) string {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	var kind string
	var content []byte
	var err error
	switch ending {
	case ".key":
		kind = "PRIVATE KEY"
		content, err = x509.MarshalPKCS8PrivateKey(key)
	case ".crt":
		kind = "CERTIFICATE"
		template := &x509.Certificate{SerialNumber: big.NewInt(1)}
		content, err = x509.CreateCertificate(nil, template, template, key.Public(), key)
	default:
		return "0123456789abcdef0123456789abcdef"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
}

func store(t *testing.T, file, content string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(content), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// byChart are variables that the chart sets from values of their own, or that are for the form with a single channel.
var byChart = []string{
	"NATS_URL", "NATS_INBOX_PREFIX", "NATS_CREDS", "NATS_NKEY", "NATS_CA", "NATS_CERT", "NATS_KEY", "REDIS_URL",
	"REDIS_CA", "REDIS_CERT", "REDIS_KEY",
	"SHUTDOWN_GRACE", "ADMIN_ADDR", "LINEPAY_CHANNELS", "RELOAD_EVERY",
	"LINEPAY_CHANNEL", "LINEPAY_CHANNEL_ID", "LINEPAY_CHANNEL_SECRET", "LINEPAY_CHANNEL_SECRET_FILE", "LINEPAY_BASE_URL",
	"LINEPAY_API_VERSION",
}

func TestEverySettingOfTheWorkerCanBeGivenToTheChart(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(chartDir + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties struct {
			Settings struct{ PropertyNames struct{ Enum []string } }
		}
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	_, help := program(t, nil, "linepay-worker", "--help")
	var want []string
	for _, part := range strings.Split(help, "($")[1:] {
		name, _, _ := strings.Cut(part, ")")
		if !slices.Contains(byChart, name) {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if got := schema.Properties.Settings.PropertyNames.Enum; !slices.Equal(got, want) {
		t.Errorf("values.schema.json knows the settings\n%v\nand the worker\n%v", got, want)
	}
}
