package app

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

// variables is every variable of the settings; tests start without any of them.
var variables = []string{
	"NATS_URL", "NATS_CREDS", "NATS_NKEY", "NATS_CA", "NATS_CERT", "NATS_KEY", "NATS_INBOX_PREFIX", "REDIS_URL", "REDIS_CA", "REDIS_CERT", "REDIS_KEY", "LINEPAY_CHANNELS", "LINEPAY_CHANNEL",
	"LINEPAY_CHANNEL_ID", "LINEPAY_CHANNEL_SECRET", "LINEPAY_CHANNEL_SECRET_FILE", "LINEPAY_BASE_URL", "LINEPAY_API_VERSION",
	"CONCURRENCY", "READ_TIMEOUT", "LOOKUP_MARGIN", "RETRY_BUDGET", "RETRY_MIN", "RETRY_MAX", "RECORD_RETENTION", "SHUTDOWN_GRACE",
	"REDIS_WAIT", "CAUTIOUS", "DEDUPE_WINDOW", "RELOAD_EVERY", "ADMIN_ADDR", "LOG_LEVEL", "LOG_FORMAT",
}

// parse gives the settings as a program sees them, with nothing in the environment but what is given; and holds linepay-worker's reading of
// them against that of the others.
func parse(t *testing.T, environment map[string]string, arguments ...string) (settings, string, error) {
	t.Helper()
	for _, name := range variables {
		t.Setenv(name, environment[name])
	}
	var s settings
	var output bytes.Buffer
	k, err := Parser("linepay-worker", "A worker.", &s, kong.Writers(&output, &output), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Parse(arguments)
	if slices.Contains(arguments, "--help") {
		return s, output.String() + help(t, arguments), err
	}
	var read settings
	if wrong := Read(&read, arguments); err == nil && wrong != nil || err != nil && (wrong == nil || !strings.Contains(wrong.Error(), err.Error())) {
		t.Errorf("%v: Read says %v, and kong %v", arguments, wrong, err)
	}
	if diff := cmp.Diff(s, read); err == nil && diff != "" {
		t.Errorf("Read (+) differs from kong (-):\n%s", diff)
	}
	return s, output.String(), err
}

func help(t *testing.T, arguments []string) string {
	t.Helper()
	if err := Read(&settings{}, arguments); !errors.Is(err, ErrHelp) {
		t.Errorf("%v: %v, want ErrHelp", arguments, err)
	}
	var text bytes.Buffer
	if err := Usage(&text, &settings{}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if utf8.RuneCountInString(line) > usageColumns+1 {
			t.Errorf("%d columns: %s", utf8.RuneCountInString(line), line)
		}
	}
	return text.String()
}

func TestArgumentsThatNoProgramTakesAreNamed(t *testing.T) {
	for _, arguments := range [][]string{
		{"--nonsense"}, {"--conc=3"}, {"walk"}, {"--"}, {"--no-cautious"}, {"--cautious=maybe"}, {"--concurrency=3", "--concurrency=x"}, {"-x"}, {"--no-provision=1"},
	} {
		var s settings
		err := Read(&s, arguments)
		if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(strings.SplitN(arguments[len(arguments)-1], "=", 2)[0], "--")) {
			t.Errorf("%v: %v", arguments, err)
		}
	}
	for _, arguments := range [][]string{
		{"--concurrency=3", "--concurrency=4"},
		{"--cautious=false"},
		{"--cautious=yes", "--channel-secret=a=b", "--nats-creds="},
		{"--no-provision", "--provision"},
		{"--channel-id", "a b", "--retry-min=1s"},
	} {
		if _, _, err := parse(t, map[string]string{"CAUTIOUS": "1"}, arguments...); err != nil {
			t.Errorf("%v: %v", arguments, err)
		}
	}
}

func defaults() settings {
	return settings{
		NATS:     NATSSettings{URL: "nats://127.0.0.1:4222", Inbox: "_INBOX"},
		Redis:    RedisSettings{URL: "redis://127.0.0.1:6379/0"},
		Channels: ChannelSettings{Name: "default", BaseURL: "https://sandbox-api-pay.line.me", APIVersion: "v3"},
		Worker: WorkerSettings{
			Concurrency: 64, LookupMargin: 30 * time.Second, RetryBudget: 24 * time.Hour, RetryMin: time.Second, RetryMax: 5 * time.Minute,
			RecordRetention: 2160 * time.Hour, ShutdownGrace: 75 * time.Second,
		},
		Streams: StreamSettings{DedupeWindow: 10 * time.Minute, Replicas: 1, Provision: true},
		Admin:   AdminSettings{Addr: "127.0.0.1:8080"},
		Log:     LogSettings{Level: "info", Format: "json"},
	}
}

func TestSettingsHaveTheirDefaultsAndEmptyVariablesCountAsUnset(t *testing.T) {
	got, _, err := parse(t, nil) // every variable is set, and empty
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults(), got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if warnings := got.Worker.Warnings(); len(warnings) != 0 {
		t.Errorf("the defaults are warned about: %q", warnings)
	}
}

func TestFlagWinsOverVariableAndVariableOverDefault(t *testing.T) {
	environment := map[string]string{"NATS_URL": "nats://env:4222", "CONCURRENCY": "7", "RETRY_MIN": "2s", "CAUTIOUS": "true", "LINEPAY_CHANNEL": "shop"}
	got, _, err := parse(t, environment, "--nats-url=nats://flag:4222", "--retry-min", "3s", "--no-provision", "--replicas=3", "--insecure")
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.NATS.URL, want.Worker.Concurrency, want.Worker.RetryMin, want.Worker.Cautious = "nats://flag:4222", 7, 3*time.Second, true
	want.Channels.Name, want.Channels.Insecure, want.Streams.Provision, want.Streams.Replicas = "shop", true, false, 3
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestHelpListsEverySettingAndNoSecret(t *testing.T) {
	const secret = "s3cr3t-value"
	_, help, err := parse(t, map[string]string{
		"LINEPAY_CHANNEL_SECRET": secret, "NATS_URL": "nats://user:" + secret + "@host", "REDIS_URL": "redis://:" + secret + "@host",
	}, "--help")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(help, secret) {
		t.Errorf("--help shows a secret:\n%s", help)
	}
	for _, name := range variables {
		if !strings.Contains(help, "$"+name) {
			t.Errorf("--help does not name %s", name)
		}
		if !strings.Contains(help, flagOf(name)) {
			t.Errorf("--help does not name %s", flagOf(name))
		}
	}
	for _, text := range []string{"--[no-]provision", "--replicas=1", "--insecure", `"redis://127.0.0.1:6379/0"`, "(duration)", "=2160h"} {
		if !strings.Contains(help, text) {
			t.Errorf("--help does not hold %s:\n%s", text, help)
		}
	}
}

func TestSettingsTableNamesEveryVariableAndFlag(t *testing.T) {
	t.Parallel()
	table := SettingsTable()
	for _, name := range variables {
		if !strings.Contains(table, "| `"+name+"` | `"+flagOf(name)+"` |") {
			t.Errorf("the table has no row for %s and %s", name, flagOf(name))
		}
	}
	for _, row := range []string{
		"| `RETRY_BUDGET` | `--retry-budget` | `24h` | Time for which a command is tried again before it is parked (duration). |",
		"| – | `--provision` | `true` | Create missing streams and consumers (default: yes). |",
	} {
		if !strings.Contains(table, row+"\n") {
			t.Errorf("the table does not hold %s\n%s", row, table)
		}
	}
	if got, want := strings.Count(table, "\n"), len(variables)+3+2; got != want {
		t.Errorf("the table has %d lines, want %d: a row for each of %d variables and 3 flags, and 2 for the head", got, want, len(variables))
	}
}

func TestSettingsOutOfRangeAreRefusedByName(t *testing.T) {
	for _, row := range []struct{ setting, value, want string }{
		{"CONCURRENCY", "0", "CONCURRENCY (--concurrency) is 0: must be 1 to 10000"},
		{"CONCURRENCY", "10001", "CONCURRENCY (--concurrency) is 10001: must be 1 to 10000"},
		{"READ_TIMEOUT", "-1s", "READ_TIMEOUT (--read-timeout) is -1s: must not be negative"},
		{"LOOKUP_MARGIN", "-1s", "LOOKUP_MARGIN (--lookup-margin) is -1s: must not be negative"},
		{"RETRY_BUDGET", "0s", "RETRY_BUDGET (--retry-budget) is 0s: must be longer than 0"},
		{"RETRY_MIN", "0s", "RETRY_MIN (--retry-min) is 0s: must be longer than 0"},
		{"RETRY_MIN", "6m", "RETRY_MAX (--retry-max) is 5m0s: must not be shorter than RETRY_MIN (6m0s)"},
		{"RETRY_MAX", "500ms", "RETRY_MAX (--retry-max) is 500ms: must not be shorter than RETRY_MIN (1s)"},
		{"RETRY_BUDGET", "4m", "RETRY_BUDGET (--retry-budget) is 4m0s: must not be shorter than RETRY_MAX (5m0s)"},
		{"RETRY_MAX", "25h", "RETRY_BUDGET (--retry-budget) is 24h0m0s: must not be shorter than RETRY_MAX (25h0m0s)"},
		{"RECORD_RETENTION", "59s", "RECORD_RETENTION (--record-retention) is 59s: must be at least 1m"},
		{"SHUTDOWN_GRACE", "60s", "SHUTDOWN_GRACE (--shutdown-grace) is 1m0s: must be longer than the longest read timeout (1m0s)"},
		{"READ_TIMEOUT", "80s", "SHUTDOWN_GRACE (--shutdown-grace) is 1m15s: must be longer than the longest read timeout (1m20s)"},
		{"REDIS_WAIT", "-1", "REDIS_WAIT (--redis-wait) is -1: must be 0 to 100"},
		{"REDIS_WAIT", "101", "REDIS_WAIT (--redis-wait) is 101: must be 0 to 100"},
		{"DEDUPE_WINDOW", "99ms", "DEDUPE_WINDOW (--dedupe-window) is 99ms: must be at least 100ms"},
		{"RELOAD_EVERY", "1ms", "RELOAD_EVERY (--reload-every) is 1ms: must be at least 100ms, or 0s for SIGHUP alone"},
		{"RELOAD_EVERY", "-1s", "RELOAD_EVERY (--reload-every) is -1s: must be"},
		{"ADMIN_ADDR", "8080", "ADMIN_ADDR (--admin-addr) is 8080: must be host:port"},
		{"ADMIN_ADDR", ":70000", "ADMIN_ADDR (--admin-addr) is :70000: must be host:port"},
		{"LOG_LEVEL", "loud", "LOG_LEVEL (--log-level) is loud: must be debug, info, warn or error"},
		{"LOG_FORMAT", "xml", "LOG_FORMAT (--log-format) is xml: must be json or console"},
		{"NATS_CERT", "c.pem", "NATS_CERT (--nats-cert) is c.pem: needs NATS_KEY"},
		{"NATS_KEY", "k.pem", "NATS_KEY (--nats-key) is k.pem: needs NATS_CERT"},
		{"NATS_INBOX_PREFIX", "_INBOX.worker.", "NATS_INBOX_PREFIX (--nats-inbox-prefix) is _INBOX.worker.: must be the beginning of a subject"},
		{"NATS_INBOX_PREFIX", "_INBOX.>", "NATS_INBOX_PREFIX (--nats-inbox-prefix) is _INBOX.>: must be the beginning of a subject"},
		{"REDIS_CA", "ca.pem", "REDIS_CA (--redis-ca) is ca.pem: needs TLS: write rediss:// in REDIS_URL"},
		{"REDIS_CERT", "c.pem", "REDIS_CERT (--redis-cert) is c.pem: needs REDIS_KEY"},
		{"REDIS_KEY", "k.pem", "REDIS_KEY (--redis-key) is k.pem: needs REDIS_CERT"},
		{"REDIS_URL", "http://host", "REDIS_URL (--redis-url) is http://host: must begin with redis://"},
	} {
		t.Run(row.setting+"="+row.value, func(t *testing.T) {
			_, _, err := parse(t, map[string]string{row.setting: row.value})
			var broken *SettingError
			if !errors.As(err, &broken) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
}

func TestValuesThatCannotBeReadAreToldInPlainWords(t *testing.T) {
	for _, row := range []struct {
		environment map[string]string
		arguments   []string
		want        string
	}{
		{map[string]string{"READ_TIMEOUT": "20"}, nil, `--read-timeout: must be a duration such as 20s, 5m or 1h30m, not "20" (from envar READ_TIMEOUT="20")`},
		{nil, []string{"--retry-min", "soon"}, `--retry-min: must be a duration such as 20s, 5m or 1h30m, not "soon"`},
		{nil, []string{"--concurrency", "abc"}, `--concurrency: must be a whole number, not "abc"`},
		{nil, []string{"--concurrency", "99999999999999999999"}, `--concurrency: must be a whole number, not "99999999999999999999"`},
		{nil, []string{"--concurrency"}, "--concurrency: needs a value"},
		{nil, []string{"--concurrency", "-1"}, `--concurrency: needs a value, and "-1" is a flag; a value that begins with - is written with =`},
		{nil, []string{"--nats-url", "--insecure"}, `--nats-url: needs a value, and "--insecure" is a flag`},
		{nil, []string{"--channel-id"}, "--channel-id: needs a value"},
	} {
		_, _, err := parse(t, row.environment, row.arguments...)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v %v: error %v, want %q", row.environment, row.arguments, err, row.want)
		}
	}
}

func TestSettingsAtTheirLimitsAreTaken(t *testing.T) {
	for _, environment := range []map[string]string{
		{"CONCURRENCY": "1", "REDIS_WAIT": "100", "RECORD_RETENTION": "1m", "DEDUPE_WINDOW": "100ms", "LOOKUP_MARGIN": "0s"},
		{"CONCURRENCY": "10000", "RETRY_MIN": "5m", "RETRY_MAX": "5m", "RETRY_BUDGET": "5m", "ADMIN_ADDR": "off", "LOG_LEVEL": "debug"},
		{"READ_TIMEOUT": "1s", "SHUTDOWN_GRACE": "1001ms", "ADMIN_ADDR": ":0"},
		{"NATS_CERT": "c.pem", "NATS_KEY": "k.pem", "NATS_CREDS": "worker.creds"},
	} {
		if _, _, err := parse(t, environment); err != nil {
			t.Errorf("%v: %v", environment, err)
		}
	}
}

func TestEveryBrokenRuleIsToldAtOnce(t *testing.T) {
	t.Parallel()
	s := defaults().Worker
	s.Concurrency, s.RetryBudget, s.RedisWait = 0, 0, -1
	err := s.Validate()
	for _, name := range []string{"CONCURRENCY", "RETRY_BUDGET", "REDIS_WAIT"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not name %s", err, name)
		}
	}
}

func TestStreamsTakeOneToFiveReplicas(t *testing.T) {
	t.Parallel()
	for replicas, ok := range map[int]bool{0: false, 1: true, 5: true, 6: false} {
		err := StreamSettings{DedupeWindow: time.Minute, Replicas: replicas}.Validate()
		if (err == nil) != ok {
			t.Errorf("%d replicas: %v", replicas, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "--replicas is ") {
			t.Errorf("error %q does not name --replicas", err)
		}
	}
}

func TestNATSTakesOneIdentity(t *testing.T) {
	t.Parallel()
	err := NATSSettings{URL: "nats://host", Creds: "a.creds", NKey: "b.nk"}.Validate()
	if err == nil || !strings.Contains(err.Error(), "one identity") {
		t.Errorf("error %v, want that a connection has one identity", err)
	}
	if err := (NATSSettings{}).Validate(); err == nil || !strings.Contains(err.Error(), "NATS_URL (--nats-url) must name at least one server") {
		t.Errorf("error %v, want that NATS_URL is missing", err)
	}
}

func TestDoubtfulWorkerSettingsAreWarnedAbout(t *testing.T) {
	t.Parallel()
	s := defaults().Worker
	s.ReadTimeout = 59 * time.Second
	if got := s.Warnings(); len(got) != 1 || !strings.Contains(got[0], "READ_TIMEOUT (--read-timeout) is 59s, below the 1m0s") {
		t.Errorf("warnings %q, want one about READ_TIMEOUT", got)
	}
	s.ReadTimeout, s.RecordRetention = time.Minute, time.Hour
	if got := s.Warnings(); len(got) != 1 || !strings.Contains(got[0], "RECORD_RETENTION") {
		t.Errorf("warnings %q, want one about RECORD_RETENTION", got)
	}
	s = defaults().Worker
	s.LookupMargin = 0
	if got := s.Warnings(); len(got) != 1 || !strings.Contains(got[0], "LOOKUP_MARGIN (--lookup-margin) is 0s, below 30s") {
		t.Errorf("warnings %q, want one about LOOKUP_MARGIN", got)
	}
}

func TestAddressesAreShownWithoutUserPasswordAndOptions(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"redis://host:6379/0":                         "redis://host:6379/0",
		"redis://:p/a?s,s@w@host:6379/0":              "redis://…@host:6379/0",
		"redis+sentinel://h?sentinel_password=secret": "redis+sentinel://h",
		"nats://token@a:4222,nats://u:secret@b:4222":  "nats://…@b:4222",
		"user:secret@host":                            "…@host",
		"/etc/channels.yaml":                          "/etc/channels.yaml",
	} {
		if got := redact(address); got != want {
			t.Errorf("redact(%q) = %q, want %q", address, got, want)
		}
	}
}
