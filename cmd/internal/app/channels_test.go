package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linepay-worker/linepay"
)

const testSecret = "0123456789abcdef-secret"

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func single() ChannelSettings {
	return ChannelSettings{Name: "default", ID: "1234567890", Secret: testSecret, BaseURL: linepay.SandboxURL, APIVersion: "v3"}
}

func TestSingleChannelComesFromFlagsAndEnvironment(t *testing.T) {
	t.Parallel()
	got, err := single().Load(64)
	if err != nil {
		t.Fatal(err)
	}
	want := []Channel{{Name: "default", ID: "1234567890", Secret: testSecret, BaseURL: linepay.SandboxURL, APIVersion: "v3", Concurrency: 64}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("channels (-want +got):\n%s", diff)
	}
}

func TestSecretFileLosesOneNewlineAndNothingElse(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]linepay.Secret{
		"abc": "abc", "abc\n": "abc", "abc\r\n": "abc", "abc\n\n": "abc\n", " abc \n": " abc ",
	} {
		got, err := readSecretFile(write(t, "secret", content))
		if err != nil || got.Reveal() != want.Reveal() {
			t.Errorf("file %q gives %q and %v, want %q", content, got.Reveal(), err, want.Reveal())
		}
	}
}

func TestSingleChannelIsRefusedWithTheSettingsName(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(*ChannelSettings)
		want   string
	}{
		"no id":            {func(s *ChannelSettings) { s.ID = "" }, "LINEPAY_CHANNEL_ID (--channel-id) is missing"},
		"no secret":        {func(s *ChannelSettings) { s.Secret = "" }, "LINEPAY_CHANNEL_SECRET (--channel-secret) is missing"},
		"two secrets":      {func(s *ChannelSettings) { s.SecretFile = "x" }, "excludes LINEPAY_CHANNEL_SECRET"},
		"no secret file":   {func(s *ChannelSettings) { s.Secret, s.SecretFile = "", "/nowhere/x" }, "LINEPAY_CHANNEL_SECRET_FILE (--channel-secret-file) is /nowhere/x: cannot be read"},
		"file and id":      {func(s *ChannelSettings) { s.File = "c.yaml" }, "LINEPAY_CHANNELS (--channels) is c.yaml: excludes LINEPAY_CHANNEL_ID"},
		"bad name":         {func(s *ChannelSettings) { s.Name = "Shop.1" }, `LINEPAY_CHANNEL (--channel) is "Shop.1": must be 1 to 32 of a-z`},
		"long name":        {func(s *ChannelSettings) { s.Name = strings.Repeat("a", 33) }, "LINEPAY_CHANNEL (--channel) is"},
		"bad id":           {func(s *ChannelSettings) { s.ID = "12 34" }, `LINEPAY_CHANNEL_ID (--channel-id) is "12 34": must be 1 to 100 visible`},
		"bad version":      {func(s *ChannelSettings) { s.APIVersion = "v2" }, `LINEPAY_API_VERSION (--api-version) is "v2": must be "v3" or "v4"`},
		"spaces in secret": {func(s *ChannelSettings) { s.Secret = testSecret + " " }, "LINEPAY_CHANNEL_SECRET (--channel-secret) must not contain spaces"},
		"no host":          {func(s *ChannelSettings) { s.BaseURL = "sandbox" }, "LINEPAY_BASE_URL (--base-url) is sandbox: must be scheme and host"},
		"user in address":  {func(s *ChannelSettings) { s.BaseURL = "https://u:hush@host" }, "LINEPAY_BASE_URL (--base-url) is https://…@host: must be scheme and host alone"},
		"path in address":  {func(s *ChannelSettings) { s.BaseURL = "https://host/v3" }, "scheme and host alone"},
		"no TLS":           {func(s *ChannelSettings) { s.BaseURL = "http://10.0.0.1" }, "must be https"},
		"how to do so":     {func(s *ChannelSettings) { s.BaseURL = "http://10.0.0.1" }, "(--insecure)"},
		"fake loopback":    {func(s *ChannelSettings) { s.BaseURL = "http://127.0.0.1.example" }, "must be https"},
	} {
		s := single()
		row.change(&s)
		_, err := s.Load(64)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v, want %q", name, err, row.want)
		}
		if err != nil && (strings.Contains(err.Error(), testSecret) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
	}
}

func TestMissingIDAndSecretAreToldAtOnce(t *testing.T) {
	t.Parallel()
	_, err := ChannelSettings{Name: "default", BaseURL: linepay.SandboxURL}.Load(1)
	for _, name := range []string{"LINEPAY_CHANNEL_ID (--channel-id) is missing", "LINEPAY_CHANNEL_SECRET (--channel-secret) is missing"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not say that %s", err, name)
		}
	}
}

func TestEmptySecretFileIsRefused(t *testing.T) {
	t.Parallel()
	s := single()
	s.Secret, s.SecretFile = "", write(t, "secret", "\n")
	if _, err := s.Load(1); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("error %v, want that the file is empty", err)
	}
}

func TestAddressWithoutTLSIsForLoopbackOrInsecure(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000", "https://10.0.0.1", "https://host:8443/"} {
		s := single()
		s.BaseURL = address
		if _, err := s.Load(1); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	s := single()
	s.BaseURL, s.Insecure = "http://simulator:9000", true
	if _, err := s.Load(1); err != nil {
		t.Errorf("with --insecure: %v", err)
	}
}

func TestChannelsFileGivesEveryChannel(t *testing.T) {
	t.Parallel()
	const list = `
- name: tw            # ids and secrets may look like numbers
  id: 0012345678
  secret: 01234567890123456789012345678901
  environment: production
  apiVersion: v4
  concurrency: 8
  rateLimit: 50
  breaker:
    faults: 3
    pause: 10s
  deviceProfileId: POS-1
  deviceType: POS
- {name: a-test, id: "1e3", secretFile: test.secret, baseURL: "http://127.0.0.1:9000"}
- {name: th, id: "77", secret: "x:#y"}
`
	indented := "channels:" + strings.ReplaceAll(list, "\n", "\n  ")
	for form, content := range map[string]string{"list": list, "under channels": indented, "with document start": "---\n" + indented} {
		path := write(t, "channels.yaml", content)
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "test.secret"), []byte("from-file\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ChannelSettings{File: path}.Load(64)
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		want := []Channel{
			{Name: "a-test", ID: "1e3", Secret: "from-file", BaseURL: "http://127.0.0.1:9000", APIVersion: "v3", Concurrency: 64},
			{Name: "th", ID: "77", Secret: "x:#y", BaseURL: linepay.SandboxURL, APIVersion: "v3", Concurrency: 64},
			{
				Name: "tw", ID: "0012345678", Secret: "01234567890123456789012345678901", BaseURL: linepay.ProductionURL, APIVersion: "v4", Concurrency: 8,
				RateLimit: 50, BreakerFaults: 3, BreakerPause: 10 * time.Second, DeviceProfileID: "POS-1", DeviceType: "POS",
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: channels (-want +got):\n%s", form, diff)
		}
	}
}

func TestChannelsFileIsRefusedWithItsPlaceAndWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	const entry = "channels:\n- name: tw\n  id: \"1\"\n  secret: " + testSecret + "\n"
	for name, row := range map[string]struct{ content, want string }{
		"empty":                {"", "holds no channels"},
		"comment alone":        {"# later\n", "holds no channels"},
		"text":                 {"channels", "holds no channels"},
		"unknown setting":      {entry + "  concurency: 5\n", `:5:3: unknown setting "concurency"`},
		"unknown at the top":   {entry + "limits: 5\n", `:5:1: unknown setting "limits"; known at the top: channels`},
		"twice":                {entry + "  name: th\n", `:5:3: "name" is set twice`},
		"wrong kind":           {entry + "  concurrency: many\n", ":5:16: concurrency must be a whole number"},
		"list as secret":       {"channels:\n- name: tw\n  secret: [" + testSecret + "]\n", ":3:11: "},
		"broken quotes":        {"channels:\n- name: tw\n  secret: \"" + testSecret + "\n", "channels.yaml:3:"},
		"tagged as a number":   {"channels: !!int x", "is not a YAML document with a list `channels`"},
		"two documents":        {entry + "---\n" + entry, "several YAML documents"},
		"no secret":            {"channels:\n- name: tw\n  id: \"1\"\n", `:2:9: channel "tw": neither secret nor secretFile is set`},
		"both secrets":         {entry + "  secretFile: x\n", `:5:15: channel "tw": secret and secretFile are both set`},
		"missing file":         {"- {name: tw, id: \"1\", secretFile: none}\n", "none cannot be read"},
		"environment and base": {entry + "  environment: sandbox\n  baseURL: https://host\n", `:5:16: channel "tw": environment and baseURL are both set`},
		"other environment":    {entry + "  environment: staging\n", `environment is "staging": must be sandbox or production`},
		"too much at once":     {entry + "  concurrency: 10001\n", `:5:16: channel "tw": concurrency is 10001: must be 1 to 10000`},
		"half a device":        {entry + "  deviceType: POS\n", `:5:15: channel "tw": deviceType is "POS" beside deviceProfileId "": must be given together`},
		"none at once":         {entry + "  concurrency: 0\n", `:5:16: channel "tw": concurrency is 0: must be 1 to 10000`},
		"list as a number":     {entry + "  rateLimit: [1]\n", ":5:14: rateLimit must be a whole number"},
		"no list":              {"channels: 5\n", ":1:11: channels has a value of the wrong kind"},
		"no name":              {"- {id: \"1\", secret: y}\n", ":1:4: channel 1 has no name"},
		"no id":                {"- {name: tw, secret: y}\n", `:1:10: channel "tw" has no id`},
		"no TLS":               {entry + "  baseURL: http://10.0.0.1\n", `:5:12: channel "tw": baseURL is http://10.0.0.1: must be https`},
		"version":              {entry + "  apiVersion: v2\n", `:5:15: channel "tw": apiVersion is "v2": must be "v3" or "v4"`},
		"negative rate":        {entry + "  rateLimit: -1\n", `rateLimit is -1: must be commands a second`},
		"unknown of a breaker": {entry + "  breaker: {faults: 3, pauze: 1s}\n", `:5:24: unknown setting "pauze"; breaker has faults, pause`},
		"beside a breaker":     {entry + "  breaker: {faults: 3}\n  pause: 1s\n", `:6:3: unknown setting "pause"; a channel has name`},
		"breaker as a number":  {entry + "  breaker: 5\n", ":5:12: breaker "},
		"no faults at all":     {entry + "  breaker: {faults: 0}\n", `:5:12: channel "tw": breaker: faults is 0: must be 1 to 1000`},
		"too many faults":      {entry + "  breaker: {faults: 1001}\n", `channel "tw": breaker is faults: 1001: must be 1 to 1000`},
		"no pause":             {entry + "  breaker:\n    pause: soon\n", `channel "tw": breaker: pause is "soon": must be a duration`},
		"negative pause":       {entry + "  breaker: {pause: -1s}\n", `channel "tw": breaker: pause is "-1s": must be a duration`},
		"long pause":           {entry + "  breaker: {pause: 2h}\n", `channel "tw": breaker is pause: 2h0m0s: must be 100ms to 1h`},
		"same name": {
			entry + "- {name: tw, id: \"2\", secret: y}\n", `channel "tw" is configured twice`,
		},
		"same account": {
			entry + "- {name: th, id: \"1\", secret: y, baseURL: \"https://SANDBOX-api-pay.line.me:443\"}\n",
			`channels "th" and "tw" are one account (id 1 at sandbox-api-pay.line.me)`,
		},
	} {
		_, err := ChannelSettings{File: write(t, "channels.yaml", row.content)}.Load(64)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v, want %q", name, err, row.want)
		}
		if err != nil && strings.Contains(err.Error(), testSecret) {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
	}
	if _, err := (ChannelSettings{File: "/nowhere/c.yaml"}).Load(1); err == nil || !strings.Contains(err.Error(), "LINEPAY_CHANNELS (--channels) is /nowhere/c.yaml: cannot be read") {
		t.Errorf("missing file: error %v", err)
	}
}

// What is wrong with the file is told to the log and to whoever asks /readyz: a secret in the wrong place is not.
func TestSecretInTheWrongPlaceIsNotShown(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123456789abcdef"
	for content, want := range map[string]string{
		"- {name: tw, id: \"1\", secret=" + secret + "}\n":             ":1:23: unknown setting (not shown, since it may hold a secret); a channel has",
		"- {name: tw, id: \"1\", secret " + secret + "}\n":             ":1:23: unknown setting (not shown",
		"- {name: tw, id: \"1\", " + secret + "}\n":                    ":1:23: unknown setting (not shown",
		"- name: tw\n  id: \"1\"\n  secret:" + secret + ":\n":          ":3:3: unknown setting (not shown",
		"- name: tw\n  id: \"1\"\n  secret:\n    " + secret + ":\n":    ":4:37: must be text",
		"- {" + secret + ": 1, " + secret + ": 2}\n":                   "(not shown, since it may hold a secret)",
		"- name: tw\n  id: \"1\"\n  secretFile: " + secret + "\n":      ":3:15: channel \"tw\": secretFile ",
		"- name: tw\n  id: \"1\"\n  secret: [" + secret + "]\n":        ":3:11: secret must be text",
		"- name: tw\n  id: \"1\"\n  breaker: " + secret + "\n":         ":3:12: breaker has a value of the wrong kind",
		"- name: tw\n  id: \"1\"\n  secret: &a " + secret + "\n  *b\n": "is not well-formed YAML",
	} {
		_, err := ChannelSettings{File: write(t, "channels.yaml", content)}.Load(1)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: error %v, want %q and no secret", content, err, want)
		}
	}
	_, err := ChannelSettings{ID: "1", SecretFile: secret}.Load(1)
	if want := "LINEPAY_CHANNEL_SECRET_FILE (--channel-secret-file) is …"; err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
		t.Errorf("error %v, want %q and no secret", err, want)
	}
}

func TestOneIDAtTwoHostsIsTwoAccounts(t *testing.T) {
	t.Parallel()
	content := "- {name: a, id: \"1\", secret: x, environment: sandbox}\n- {name: b, id: \"1\", secret: x, environment: production}\n" +
		"- {name: c, id: \"1\", secret: x, baseURL: \"http://127.0.0.1:1\"}\n- {name: d, id: \"1\", secret: x, baseURL: \"http://127.0.0.1:2\"}\n"
	channels, err := ChannelSettings{File: write(t, "c.yaml", content)}.Load(1)
	if err != nil || len(channels) != 4 {
		t.Errorf("%d channels, error %v, want four", len(channels), err)
	}
}

func TestChannelDoesNotPrintItsSecret(t *testing.T) {
	t.Parallel()
	c := Channel{Name: "tw", Secret: testSecret}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, c); strings.Contains(text, testSecret) {
			t.Errorf("%s shows the secret: %s", verb, text)
		}
	}
}

func FuzzChannelsFileNeverPanics(f *testing.F) {
	for _, seed := range []string{
		"", "channels:\n- name: tw\n  id: 1\n  secret: x\n", "- {name: a}", "channels: {a: b}", "&a [*a]", "\t", "- *x", "channels: !!int x", "channels: !!seq x", "<<: *a",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		entries, err := parseChannels(content)
		if (err == nil) != (len(entries) > 0) {
			t.Errorf("%d channels with error %v", len(entries), err)
		}
	})
}
