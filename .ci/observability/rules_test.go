// Package observability tests what deploy/observability gives to Prometheus and Grafana, with Prometheus' own libraries. It is a module of
// its own, so that the programs do not depend on Prometheus.
package observability

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

const (
	root      = "../../"
	rulesFile = root + "deploy/observability/alerts.yaml"
	step      = 30 * time.Second
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(root + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documented are the metrics of the README's table, which the worker's own tests hold against what it serves, with their labels.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	metrics := map[string][]string{}
	row := regexp.MustCompile("(?m)^\\| `(linepay_\\w+)` \\| (\\w+) \\| ([^|]*) \\|")
	for _, row := range row.FindAllStringSubmatch(read(t, "README.md"), -1) {
		names := strings.FieldsFunc(row[3], func(r rune) bool { return r == ',' || r == ' ' })
		metrics[row[1]] = names
		if row[2] == "histogram" {
			metrics[row[1]+"_bucket"] = append(slices.Clone(names), "le")
			metrics[row[1]+"_count"], metrics[row[1]+"_sum"] = names, names
		}
	}
	if len(metrics) < 30 {
		t.Fatalf("README.md documents %d metrics, want all", len(metrics))
	}
	return metrics
}

// targetLabels are what Prometheus itself adds to all that it scrapes.
var targetLabels = []string{"instance", "job", "namespace", "pod"}

// selected looks up every metric in an expression, and the labels that it selects by, and gives the metrics.
func selected(t *testing.T, where, expression string, known map[string][]string) (metrics []string) {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		t.Errorf("%s: %v in %s", where, err, expression)
		return nil
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		has, exists := known[selector.Name]
		if !exists && strings.HasPrefix(selector.Name, "linepay_") {
			t.Errorf("%s: there is no metric %s", where, selector.Name)
		}
		for _, matcher := range selector.LabelMatchers {
			if exists && matcher.Name != labels.MetricName && !slices.Contains(slices.Concat(has, targetLabels), matcher.Name) {
				t.Errorf("%s: %s has no label %s, but %v", where, selector.Name, matcher.Name, has)
			}
		}
		metrics = append(metrics, selector.Name)
		return nil
	})
	return metrics
}

func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(rulesFile, false, model.LegacyValidation, parser.NewParser(parser.Options{}), promslog.NewNopLogger())
	if len(errs) > 0 || len(groups.Groups) != 1 {
		t.Fatalf("%v, and %d groups, want one", errs, len(groups.Groups))
	}
	return groups.Groups[0].Rules
}

func TestAlertsUseMetricsThatExist(t *testing.T) {
	t.Parallel()
	known := documented(t)
	for _, rule := range alerts(t) {
		if len(selected(t, rule.Alert, rule.Expr, known)) == 0 {
			t.Errorf("%s selects nothing", rule.Alert)
		}
	}
}

func TestEveryAlertHasAHeadingOfTheRunbookAndEveryConditionAnAlert(t *testing.T) {
	t.Parallel()
	_, conditions, found := strings.Cut(read(t, "deploy/RUNBOOK.md"), "\n## Conditions\n")
	conditions, _, ended := strings.Cut(conditions, "\n## ")
	if !found || !ended {
		t.Fatal("RUNBOOK.md has no conditions")
	}
	var headings, names []string
	for _, heading := range regexp.MustCompile("(?m)^### `(\\w+)`$").FindAllStringSubmatch(conditions, -1) {
		headings = append(headings, heading[1])
	}
	for _, rule := range alerts(t) {
		names = append(names, rule.Alert)
		if want := "deploy/RUNBOOK.md#" + strings.ToLower(rule.Alert); rule.Annotations["runbook"] != want {
			t.Errorf("%s links to %q, want %s", rule.Alert, rule.Annotations["runbook"], want)
		}
		if severity := rule.Labels["severity"]; severity != "warning" && severity != "critical" {
			t.Errorf("%s has severity %q", rule.Alert, severity)
		}
		if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("%s does not say what has happened", rule.Alert)
		}
	}
	if diff := cmp.Diff(headings, names); diff != "" {
		t.Errorf("headings of RUNBOOK.md, and alerts (-want +got):\n%s", diff)
	}
}

// scene is some minutes of what Prometheus scraped: series with a value each 30 seconds, in promtool's notation.
type scene struct {
	series []string
	at     time.Duration // when the alerts are looked at
	want   []string      // those that fire then: name, and the label values that tell them apart
}

// well is scraped from every worker that there is.
const well = `linepay_ready{channel="tw",instance="a"} 1x60`

var scenes = map[string]scene{
	"all is well": {[]string{
		well, `linepay_server_answers{server="nats",instance="a"} 1x60`, `linepay_guard_answers{channel="tw",instance="a"} 1x60`,
		`linepay_redis_memory_believed{channel="tw",instance="a"} 1x60`, `linepay_breaker_state{channel="tw",state="closed",instance="a"} 1x60`,
		`linepay_breaker_state{channel="tw",state="open",instance="a"} 0x60`,
		`linepay_breaker_state{channel="tw",state="half-open",instance="a"} 0x60`,
		`linepay_channel_refused{channel="tw",instance="a"} 0x60`, `linepay_commands_oldest_seconds{channel="tw",instance="a"} 299x60`,
		`linepay_channel_paused{channel="tw",instance="a"} 0x60`, `linepay_operations_in_doubt_oldest_seconds{instance="a"} 600x60`,
		`linepay_dead_letters{channel="tw",reason="invalid",instance="a"} 0x60`, `linepay_results_untold{channel="tw",instance="a"} 0x60`,
		`linepay_commands_unserved{instance="a"} 0x60`, `linepay_stream_fill_ratio{stream="LINEPAY_EVENTS",instance="a"} 0.8x60`,
		`linepay_storage_fill_ratio{instance="a"} 0.5x60`, `linepay_channels_last_reload_successful{instance="a"} 1x60`,
		`linepay_replayed_commands_total{channel="tw",operation="refund",outcome="refunded",instance="a"} 0+1x60`,
		`linepay_replayed_commands_total{channel="tw",operation="refund",outcome="failed",instance="a"} 3x60`,
	}, 20 * time.Minute, nil},
	"one of two workers is not ready": {[]string{
		well, `linepay_ready{channel="tw",instance="b"} 0x60`,
	}, 10 * time.Minute, []string{"LinepayWorkerNotReady tw b"}},
	"there is no worker": {[]string{`up{instance="a"} 0x60`}, 10 * time.Minute, []string{"LinepayWorkerNotReady"}},
	"a worker is not told of NATS": {[]string{
		well, `linepay_server_answers{server="nats",instance="a"} 0x60`,
	}, 10 * time.Minute, []string{"LinepayWorkerNotReady a nats"}},
	"Redis is away": {[]string{
		well, `linepay_guard_answers{channel="tw",instance="a"} 0x60`,
	}, 2 * time.Minute, []string{"LinepayRedisAway tw a"}},
	"Redis was away for a moment": {[]string{
		well, `linepay_guard_answers{channel="tw",instance="a"} 1x3 0 1x50`,
	}, 2 * time.Minute, nil},
	"Redis has forgotten": {[]string{
		well, `linepay_redis_memory_believed{channel="tw",instance="a"} 1x2 0x50`,
	}, 3 * time.Minute, []string{"LinepayRedisForgot tw a"}},
	"Redis is believed again": {[]string{
		well, `linepay_redis_memory_believed{channel="tw",instance="a"} 0x2 1x50`,
	}, 3 * time.Minute, nil},
	"the breaker goes to and fro": {[]string{
		well,
		`linepay_breaker_state{channel="tw",state="open",instance="a"} 1 1 1 0 1 1 1 0 1 1 1`,
		`linepay_breaker_state{channel="tw",state="half-open",instance="a"} 0 0 0 1 0 0 0 1 0 0 0`,
		`linepay_channel_refused{channel="tw",instance="a"} 0x60`,
	}, 5 * time.Minute, []string{"LinepayBreakerOpen tw a"}},
	"the breaker was open for a while": {[]string{
		well, `linepay_breaker_state{channel="tw",state="open",instance="a"} 1 1 0x20`,
	}, 5 * time.Minute, nil},
	"LINE Pay refuses the channel": {[]string{
		well, `linepay_breaker_state{channel="tw",state="open",instance="a"} 1x60`, `linepay_channel_refused{channel="tw",instance="a"} 1x60`,
	}, 5 * time.Minute, []string{"LinepayChannelRefused tw a"}},
	"a command waits for long": {[]string{
		well, `linepay_commands_oldest_seconds{channel="tw",instance="a"} 0+30x60`,
		`linepay_commands_oldest_seconds{channel="tw",instance="b"} 0+30x60`,
		`linepay_channel_paused{channel="tw",instance="a"} 0x60`,
	}, 10 * time.Minute, []string{"LinepayBacklogOld tw"}},
	"a command waits in a paused channel": {[]string{
		well, `linepay_commands_oldest_seconds{channel="tw",instance="a"} 0+30x60`, `linepay_channel_paused{channel="tw",instance="a"} 1x60`,
	}, 10 * time.Minute, nil},
	"doubt does not end": {[]string{
		well, `linepay_operations_in_doubt_oldest_seconds{instance="a"} 0+30x60`,
	}, 15 * time.Minute, []string{"LinepayInDoubtOld"}},
	"doubt is young": {[]string{
		well, `linepay_operations_in_doubt_oldest_seconds{instance="a"} 0+30x10 0x50`,
	}, 15 * time.Minute, nil},
	"a command was parked": {[]string{
		well,
		`linepay_dead_letters{channel="tw",reason="unresolved",instance="a"} 0x5 2x50`,
		`linepay_dead_letters{channel="tw",reason="invalid",instance="a"} 0x60`,
	}, 5 * time.Minute, []string{"LinepayDeadLetters tw unresolved"}},
	"it was replayed": {[]string{
		well, `linepay_dead_letters{channel="tw",reason="unresolved",instance="a"} 2x5 0x50`,
	}, 5 * time.Minute, nil},
	"events are not stored": {[]string{
		well, `linepay_results_untold{channel="tw",instance="a"} 1x60`,
	}, 5 * time.Minute, []string{"LinepayEventsNotStored tw a"}},
	"nobody serves a channel": {[]string{
		well,
		`linepay_commands_unserved{instance="a"} 3x60`, `linepay_commands_unserved{instance="b"} 3x60`,
	}, 10 * time.Minute, []string{"LinepayNobodyServes"}},
	"somebody serves it soon": {[]string{well, `linepay_commands_unserved{instance="a"} 3x5 0x50`}, 10 * time.Minute, nil},
	"a stream is nearly full": {[]string{
		well, `linepay_stream_fill_ratio{stream="LINEPAY_EVENTS",instance="a"} 0.81x60`,
	}, 10 * time.Minute, []string{"LinepayStreamNearlyFull LINEPAY_EVENTS"}},
	"the storage is": {[]string{
		well, `linepay_storage_fill_ratio{instance="a"} 0.9x60`,
	}, 10 * time.Minute, []string{"LinepayStreamNearlyFull"}},
	"a replay is parked again": {[]string{
		well, `linepay_replayed_commands_total{channel="tw",operation="refund",outcome="parked",instance="a"} 0x10 1x50`,
	}, 10 * time.Minute, []string{"LinepayReplayFailed tw refund parked"}},
	"that was long ago": {[]string{
		well, `linepay_replayed_commands_total{channel="tw",operation="refund",outcome="parked",instance="a"} 0x5 1x55`,
	}, 25 * time.Minute, nil},

	"a reload failed": {[]string{
		well, `linepay_channels_last_reload_successful{instance="a"} 1x5 0x60`, `linepay_channels_last_reload_successful{instance="b"} 1x60`,
	}, 10 * time.Minute, []string{"LinepayReloadFailed a"}},
	"the next one did not": {[]string{well, `linepay_channels_last_reload_successful{instance="a"} 0x5 1x60`}, 10 * time.Minute, nil},

	// Nothing fires before it has lasted.
	"a worker starts":                {[]string{`linepay_ready{channel="tw",instance="a"} 0x60`}, 4 * time.Minute, nil},
	"Redis is looked at once":        {[]string{well, `linepay_redis_memory_believed{channel="tw",instance="a"} 0x60`}, 0, nil},
	"the breaker has just opened":    {[]string{well, `linepay_breaker_state{channel="tw",state="open",instance="a"} 1x60`}, time.Minute, nil},
	"a channel has just been set up": {[]string{well, `linepay_channel_refused{channel="tw",instance="a"} 1x60`}, step, nil},
	"an old command is done soon":    {[]string{well, `linepay_commands_oldest_seconds{channel="tw",instance="a"} 400x60`}, time.Minute, nil},
	"old doubt is seen once":         {[]string{well, `linepay_operations_in_doubt_oldest_seconds{instance="a"} 700x60`}, step, nil},
	"a dead letter is seen once":     {[]string{well, `linepay_dead_letters{channel="tw",reason="poison",instance="a"} 1x60`}, step, nil},
	"one event is late":              {[]string{well, `linepay_results_untold{channel="tw",instance="a"} 1x60`}, step, nil},
	"a worker is on its way":         {[]string{well, `linepay_commands_unserved{instance="a"} 3x60`}, 4 * time.Minute, nil},
	"a stream is emptied soon":       {[]string{well, `linepay_stream_fill_ratio{stream="LINEPAY_AUDIT",instance="a"} 0.9x60`}, 4 * time.Minute, nil},
}

func TestAlertsFireWhenTheyShouldAndOnlyThen(t *testing.T) {
	t.Parallel()
	fires := map[string]int{}
	for name, s := range scenes {
		for _, alert := range s.want {
			fires[strings.Fields(alert)[0]]++
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(s.want, firing(t, s)); diff != "" {
				t.Errorf("after %s (-want +got):\n%s", s.at, diff)
			}
		})
	}
	for _, rule := range alerts(t) {
		if fires[rule.Alert] == 0 {
			t.Errorf("%s fires in no scene", rule.Alert)
		}
	}
}

// firing evaluates the rules every 30 seconds, as Prometheus does, and gives what fires in the end.
func firing(t *testing.T, s scene) (list []string) {
	t.Helper()
	stored := promqltest.LoadedStorage(t, "load 30s\n  "+strings.Join(s.series, "\n  "))
	defer stored.Close()
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, promqltest.DefaultMaxSamplesPerQuery)
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc: rules.EngineQueryFunc(engine, stored), Appendable: stored, Queryable: stored, Context: t.Context(),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {},
		Logger:     promslog.NewNopLogger(), Parser: parser.NewParser(parser.Options{}),
	})
	groups, errs := manager.LoadGroups(step, labels.EmptyLabels(), "", nil, false, rulesFile)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, group := range groups {
		for at := time.Duration(0); at <= s.at; at += step {
			group.Eval(t.Context(), time.Unix(0, 0).Add(at))
		}
		for _, rule := range group.AlertingRules() {
			if err := rule.LastError(); err != nil {
				t.Errorf("%s: %v", rule.Name(), err)
			}
			for _, alert := range rule.ActiveAlerts() {
				if alert.State == rules.StateFiring {
					list = append(list, label(rule.Name(), alert.Labels))
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

// label names an alert by what tells it from others of its name.
func label(name string, set labels.Labels) string {
	words := []string{name}
	for _, key := range []string{"channel", "instance", "operation", "outcome", "reason", "server", "stream"} {
		if value := set.Get(key); value != "" {
			words = append(words, value)
		}
	}
	return strings.Join(words, " ")
}
