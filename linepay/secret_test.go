package linepay

import (
	stdjson "encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
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

func TestCallIsSignedWithTheSecretOfTheMomentItBegins(t *testing.T) {
	t.Parallel()
	const next = "another-secret-of-the-channel"
	var mu sync.Mutex
	var signed []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for _, secret := range []Secret{secretForTests, next} {
			if r.Header.Get("X-LINE-Authorization") == Sign(secret, r.URL.EscapedPath(), "", r.Header.Get("X-LINE-Authorization-Nonce")) {
				signed = append(signed, secret.Reveal())
			}
		}
		_, _ = fmt.Fprintf(w, `{"returnCode":"1104","returnMessage":"%s is %s now"}`, secretForTests, next)
	}))
	t.Cleanup(server.Close)
	c := client(t, server.URL, nil)
	_, _ = c.Check(t.Context(), idForTests)
	for _, wrong := range []Secret{"", "with a space"} {
		if err := c.SetSecret(wrong); err == nil || strings.Contains(err.Error(), "with a space") {
			t.Errorf("error %v, want a refusal without the secret", err)
		}
	}
	if err := c.SetSecret(next); err != nil {
		t.Fatal(err)
	}
	_, err := c.Check(t.Context(), idForTests)
	if want := []string{secretForTests, next}; !slices.Equal(signed, want) {
		t.Errorf("signed with %q, want %q", signed, want)
	}
	if err == nil || strings.Contains(err.Error(), secretForTests) || strings.Contains(err.Error(), next) {
		t.Errorf("error %v, want one without either secret", err)
	}
	if printed := fmt.Sprintf("%+v %#v", c, *c); strings.Contains(printed, next) {
		t.Errorf("printed: %s", printed)
	}
}
