package deploy

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

const (
	chartDir  = root + "/deploy/helm/linepay-worker"
	rendered  = root + "/deploy/helm/rendered"
	namespace = "payments"

	alertsSource = root + "/deploy/observability/alerts.yaml"
	alertsCopy   = chartDir + "/files/alerts.yaml" // a chart sees no file outside its folder
)

// installations are the files of values in the chart's folder ci, by name.
func installations(t *testing.T) map[string]chartutil.Values {
	t.Helper()
	files, err := filepath.Glob(chartDir + "/ci/*-values.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("ci: %v, %v", files, err)
	}
	all := map[string]chartutil.Values{}
	for _, file := range files {
		values, err := chartutil.ReadValuesFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = values
	}
	return all
}

// render gives the manifests as Helm would send them, in the order of their files.
func render(values chartutil.Values) (string, error) {
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		return "", err
	}
	release := chartutil.ReleaseOptions{Name: "linepay", Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, values, release, chartutil.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if path.Ext(name) == ".yaml" && strings.TrimSpace(files[name]) != "" {
			fmt.Fprintf(&text, "---\n# Source: %s\n%s\n", name, strings.TrimSpace(files[name]))
		}
	}
	return text.String(), nil
}

// installed is what a chart makes; nil is what it does not make.
type installed struct {
	Deployment          *appsv1.Deployment
	ConfigMap           *corev1.ConfigMap
	Service             *corev1.Service
	ServiceAccount      *corev1.ServiceAccount
	PodDisruptionBudget *policyv1.PodDisruptionBudget
	NetworkPolicy       *networkingv1.NetworkPolicy
	ScaledObject        *scaledObject
	ServiceMonitor      *monitoringv1.ServiceMonitor
	PrometheusRule      *monitoringv1.PrometheusRule
}

// place gives where an object of a kind goes.
func (i *installed) place(apiVersion, kind string) any {
	switch apiVersion + " " + kind {
	case "apps/v1 Deployment":
		return &i.Deployment
	case "v1 ConfigMap":
		return &i.ConfigMap
	case "v1 Service":
		return &i.Service
	case "v1 ServiceAccount":
		return &i.ServiceAccount
	case "policy/v1 PodDisruptionBudget":
		return &i.PodDisruptionBudget
	case "networking.k8s.io/v1 NetworkPolicy":
		return &i.NetworkPolicy
	case "keda.sh/v1alpha1 ScaledObject":
		return &i.ScaledObject
	case "monitoring.coreos.com/v1 ServiceMonitor":
		return &i.ServiceMonitor
	case "monitoring.coreos.com/v1 PrometheusRule":
		return &i.PrometheusRule
	default:
		return nil
	}
}

// install renders, and reads each manifest strictly into the type of its own project: an unknown field is an error.
func install(t *testing.T, values chartutil.Values) (all installed, documents []string) {
	t.Helper()
	text, err := render(values)
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(text, "---\n") {
		if document == "" {
			continue
		}
		documents = append(documents, document)
		var kind struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		place := all.place(kind.APIVersion, kind.Kind)
		if place == nil {
			t.Fatalf("nobody knows %s %s\n%s", kind.APIVersion, kind.Kind, document)
		}
		if err := yaml.UnmarshalStrict([]byte(document), place); err != nil {
			t.Errorf("%v\n%s", err, document)
		}
	}
	return all, documents
}

func TestChartPassesHelmsLint(t *testing.T) {
	t.Parallel()
	for name, values := range installations(t) {
		for _, message := range lint.All(chartDir, values, namespace, true).Messages {
			if message.Severity > support.InfoSev {
				t.Errorf("%s: %s", name, message)
			}
		}
	}
}

func TestManifestsAreThoseOnRecord(t *testing.T) {
	t.Parallel()
	if os.Getenv("UPDATE_CHART") != "" {
		if err := copyFile(alertsSource, alertsCopy); err != nil {
			t.Fatal(err)
		}
	}
	for name, values := range installations(t) {
		got, err := render(values)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(rendered, name+".yaml")
		if os.Getenv("UPDATE_CHART") != "" {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, []byte(got)) {
			t.Errorf("%s is stale: run `UPDATE_CHART=1 go test -C .ci/tools ./deploy -run Record` and read the difference", file)
		}
	}
}

func TestChartGivesTheAlertsOfObservability(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(alertsSource)
	if err != nil {
		t.Fatal(err)
	}
	var want monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict(source, &want); err != nil {
		t.Fatal(err)
	}
	all := installations(t)
	full, _ := install(t, all["full"])
	if full.PrometheusRule == nil || len(want.Groups) == 0 {
		t.Fatalf("%d groups of alerts, and the chart gives the rule %v", len(want.Groups), full.PrometheusRule)
	}
	if !reflect.DeepEqual(want, full.PrometheusRule.Spec) {
		t.Errorf("%s is stale: run `UPDATE_CHART=1 go test -C .ci/tools ./deploy -run Record`", alertsCopy)
	}
	if full.PrometheusRule.Labels["release"] != "prometheus" {
		t.Errorf("the rule has the labels %v, without those of the values", full.PrometheusRule.Labels)
	}
	if minimal, _ := install(t, all["minimal"]); minimal.PrometheusRule != nil {
		t.Error("the rule is there without being asked for, and the Prometheus operator may not be")
	}
}

func TestSchemaOfValuesRefusesMistakes(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ values, want string }{
		"no channels":              {"replicas: 1", "channels is empty: give at least one LINE Pay channel"},
		"unknown value":            {oneChannel + "replica: 3", "replica"},
		"unknown setting":          {oneChannel + "settings: {CONCURENCY: 3}", "CONCURENCY"},
		"setting of the chart":     {oneChannel + "settings: {ADMIN_ADDR: ':1'}", "ADMIN_ADDR"},
		"secret in the values":     {"channels: [{name: tw, id: '1', secret: 0123456789abcdef}]", "/channels/0/secret"},
		"no secret":                {"channels: [{name: tw, id: '1'}]", "secret"},
		"file of a secret":         {"channels: [{name: tw, id: '1', secret: {name: s, key: k}, secretFile: x}]", "/channels/0/secretFile"},
		"id as a number":           {"channels: [{name: tw, id: 1650000001, secret: {name: s, key: k}}]", "/channels/0/id"},
		"name with a dot":          {"channels: [{name: t.w, id: '1', secret: {name: s, key: k}}]", "/channels/0/name"},
		"grace too short":          {oneChannel + "shutdownGraceSeconds: 60", "/shutdownGraceSeconds"},
		"secret without a key":     {oneChannel + "redis: {urlSecret: {name: s}}", "/redis/urlSecret"},
		"streams with 9 replicas":  {oneChannel + "streams: {replicas: 9}", "/streams/replicas"},
		"budget of another name":   {oneChannel + "podDisruptionBudget: {minAvailable: 1}", "minAvailable"},
		"setting of our own":       {oneChannel + "traces: {settings: {LOG_LEVEL: debug}}", "LOG_LEVEL"},
		"two channels of a name":   {"channels: [{name: tw, id: '1', secret: {name: s, key: k}}, {name: tw, id: '2', secret: {name: s, key: l}}]", "tw is there twice"},
		"misspelt in a channel":    {"channels: [{name: tw, id: '1', secret: {name: s, key: k}, concurency: 3}]", "concurency"},
		"password in an address":   {oneChannel + "redis: {url: 'redis://worker:secret@host'}", "redis.url has a user or a password in it"},
		"token in an address":      {oneChannel + "nats: {url: 'nats://token@host'}", "put it into a Secret, and name that in nats.urlSecret"},
		"token of the collector":   {oneChannel + "traces: {settings: {OTEL_EXPORTER_OTLP_HEADERS: a=b}}", "OTEL_EXPORTER_OTLP_HEADERS"},
		"more pods at least":       {oneChannel + "keda: {enabled: true, minReplicas: 5, maxReplicas: 2}", "keda.minReplicas is above keda.maxReplicas"},
		"no lag that starts a pod": {oneChannel + "keda: {lagThreshold: 0}", "/keda/lagThreshold"},
	} {
		values, err := chartutil.ReadValues([]byte(row.values))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := render(values); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want an error about %s", name, err, row.want)
		}
	}
}
