package linepay

import (
	stdjson "encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/goccy/go-yaml"
)

func TestSecretIsNotPrinted(t *testing.T) {
	t.Parallel()
	const plain = "s3cr3t-of-a-channel"
	secret := Secret(plain)
	holder := struct {
		Secret  Secret
		Pointer *Secret
		List    []Secret
		Map     map[string]Secret
	}{secret, &secret, []Secret{secret}, map[string]Secret{"x": secret}}
	config := Config{BaseURL: SandboxURL, ChannelID: "1234567890", Secret: secret}
	client, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		printed = append(printed, fmt.Sprintf(verb, secret), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, config),
			fmt.Sprintf(verb, client), fmt.Sprintf(verb, *client), fmt.Sprintf(verb, struct{ c *Client }{client}))
	}
	v2, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	v1, err := stdjson.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", secret)
	for _, text := range append(printed, string(v1), string(v2), string(y), log.String()) {
		if strings.Contains(text, plain) || strings.Contains(text, fmt.Sprintf("%x", plain)) {
			t.Errorf("printed: %s", text)
		}
	}
	if !strings.Contains(string(v2), hidden) || secret.String() != hidden {
		t.Errorf("a hidden secret should show as %s: %s", hidden, v2)
	}
	if secret.Reveal() != plain {
		t.Error("Reveal must give the secret itself")
	}
}
