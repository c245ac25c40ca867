package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
)

const oneChannel = "channels: [{name: tw, id: '1', secret: {name: s, key: k}}]\n"

// The network policy lets out what the addresses in the values need, though nobody has said so a second time.
func TestNetworkPolicyLetsTheWorkerReachWhatItIsToldTo(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		values string
		want   string // ports of NATS, Redis, LINE Pay and the collector
	}{
		"the usual ones":   {oneChannel, "4222; 6379; 443"},
		"NATS elsewhere":   {oneChannel + "nats: {url: 'tls://a:4443,tls://b:4444'}", "4222 4443 4444; 6379; 443"},
		"Redis over TLS":   {oneChannel + "redis: {url: 'rediss://a:6380/0'}", "4222; 6379 6380; 443"},
		"Redis' cluster":   {oneChannel + "redis: {url: 'redis+cluster://a:7000,b:7001'}", "4222; 6379 7000 7001; 443"},
		"Sentinel":         {oneChannel + "redis: {url: 'redis+sentinel://a:26379,[::1]:26379/0?master=m'}", "4222; 6379 26379; 443"},
		"DNS of OpenShift": {oneChannel + "networkPolicy: {dnsPorts: [5353]}", "4222; 6379; 443"},
		"LINE Pay behind a proxy": {
			"channels: [{name: a, id: '1', secret: {name: s, key: k}, baseURL: 'https://proxy:8443'}]",
			"4222; 6379; 443 8443",
		},
		"a collector": {oneChannel + "traces: {endpoint: 'http://c:14318/v1'}", "4222; 6379; 443; 4318 14318"},
	} {
		all, _ := install(t, parsed(t, row.values))
		var got []string
		for _, rule := range all.NetworkPolicy.Spec.Egress {
			var ports []string
			for _, port := range rule.Ports {
				ports = append(ports, port.Port.String())
			}
			got = append(got, strings.Join(ports, " "))
		}
		dns, want := all.NetworkPolicy.Spec.Egress[0].Ports, "53 53"
		if strings.Contains(row.values, "5353") {
			want = "5353 5353"
		}
		if got[0] != want || *dns[0].Protocol != corev1.ProtocolUDP || *dns[1].Protocol != corev1.ProtocolTCP {
			t.Errorf("%s: lets out DNS on %s by %s and %s, want %s by UDP and TCP", name, got[0], *dns[0].Protocol, *dns[1].Protocol, want)
		}
		if got := strings.Join(got[1:], "; "); got != row.want {
			t.Errorf("%s: lets out %s, want %s", name, got, row.want)
		}
	}
}

// A node can be emptied, of the only worker, too, and while no worker is ready.
func TestDisruptionBudgetHoldsNoNodeUp(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"two workers": "", "one worker": "replicas: 1", "KEDA": "keda: {enabled: true, minReplicas: 1}",
	} {
		all, _ := install(t, parsed(t, oneChannel+text))
		budget := all.PodDisruptionBudget.Spec
		if budget.MinAvailable != nil || budget.MaxUnavailable.IntValue() < 1 {
			t.Errorf("%s: at least %v must be there, and %v may be away", name, budget.MinAvailable, budget.MaxUnavailable)
		}
		if policy := budget.UnhealthyPodEvictionPolicy; policy == nil || *policy != policyv1.AlwaysAllow {
			t.Errorf("%s: pods that are not ready hold a node up", name)
		}
	}
}

func parsed(t *testing.T, text string) chartutil.Values {
	t.Helper()
	values, err := chartutil.ReadValues([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func TestValuesThatAreTakenAwayLeaveManifestsWhole(t *testing.T) {
	t.Parallel()
	deployment := kubernetes(t, "io.k8s.api.apps.v1.Deployment")
	for name, text := range map[string]string{
		"no resources":     "resources: null",
		"no tolerations":   "tolerations: null\naffinity: null\nnodeSelector: null\npodLabels: null\npodAnnotations: null",
		"no settings":      "settings: null\ntraces: {settings: null, headersSecret: null}",
		"no secrets":       "nats: {urlSecret: null, credsSecret: null, tls: null}\nredis: {urlSecret: null, tls: null}",
		"no worker at all": "replicas: 0",
	} {
		_, documents := install(t, parsed(t, oneChannel+text))
		i := slices.IndexFunc(documents, func(d string) bool { return strings.Contains(d, "kind: Deployment\n") })
		if err := deployment.Validate(map[string]any(parsed(t, documents[i]))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a channel may have is told by the worker, and again by the schema of the values, so that a mistake is found before any pod starts.
func TestSchemaKnowsTheSettingsOfAChannel(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "channels.yaml")
	if err := os.WriteFile(file, []byte("channels: [{colour: red}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, said := program(t, []string{"LINEPAY_CHANNELS=" + file}, "linepay-worker")
	_, list, found := strings.Cut(said, "a channel has ")
	if !found {
		t.Fatalf("the worker says %s", said)
	}
	want := regexp.MustCompile(`\w+`).FindAllString(strings.ReplaceAll(list, " or ", " "), -1)
	slices.Sort(want)
	text, err := os.ReadFile(chartDir + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	item := parsed(t, string(text))["properties"].(map[string]any)["channels"].(map[string]any)["items"].(map[string]any)
	for name := range item["properties"].(map[string]any) {
		got = append(got, name)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) || item["additionalProperties"] != false {
		t.Errorf("a channel of the values has %v, and nothing else: %v; one of the worker %v", got, item["additionalProperties"] == false, want)
	}
}
