package linepay

import (
	"strings"
	"testing"
	"time"
)

func TestConfigIsRefusedByFieldValueAndRule(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		change func(*Config)
		want   []string // what the error names; none means that the configuration is right
	}{
		{func(*Config) {}, nil},
		{func(c *Config) { c.BaseURL = ProductionURL + "/" }, nil},
		{func(c *Config) { c.BaseURL = "http://localhost:8080" }, nil},
		{func(c *Config) { c.BaseURL = "http://127.0.0.1:8080" }, nil},
		{func(c *Config) { c.BaseURL = "http://127.8.9.1" }, nil},
		{func(c *Config) { c.BaseURL = "http://[::1]:8080" }, nil},
		{func(c *Config) { c.BaseURL, c.AllowInsecure = "http://simulator:8080", true }, nil},
		{func(c *Config) { c.Version, c.ReadTimeout, c.MaxConns = "v4", time.Millisecond, 1 }, nil},
		{func(c *Config) { c.DeviceProfileID, c.DeviceType = "till-7", "POS" }, nil},
		{func(c *Config) { c.BaseURL = "" }, []string{"BaseURL", `""`, "scheme and host"}},
		{func(c *Config) { c.BaseURL = "api-pay.line.me" }, []string{"BaseURL", `"api-pay.line.me"`, "scheme and host"}},
		{func(c *Config) { c.BaseURL = "ftp://api-pay.line.me" }, []string{"BaseURL", "ftp://", "scheme and host"}},
		{func(c *Config) { c.BaseURL = "https://" }, []string{"BaseURL", "scheme and host"}},
		{func(c *Config) { c.BaseURL = "https://:443" }, []string{"BaseURL", "scheme and host"}},
		{func(c *Config) { c.BaseURL = "https://api-pay.line.me:" }, []string{"BaseURL", "scheme and host"}},
		{func(c *Config) { c.BaseURL = "https://api pay.line.me" }, []string{"BaseURL", "scheme and host"}},
		{func(c *Config) { c.BaseURL += "/v3" }, []string{"BaseURL", "/v3", "a setting of its own"}},
		{func(c *Config) { c.BaseURL += "?a=b" }, []string{"BaseURL", "?a=b", "scheme and host"}},
		{func(c *Config) { c.BaseURL += "?" }, []string{"BaseURL", "scheme and host"}},
		{func(c *Config) { c.BaseURL += "#a" }, []string{"BaseURL", "scheme and host"}},
		{func(c *Config) { c.BaseURL = "https://user:s3cr3t@api-pay.line.me" }, []string{"BaseURL", "user or password"}},
		{func(c *Config) { c.BaseURL = "http://api-pay.line.me" }, []string{"BaseURL", "http://api-pay.line.me", "must be https"}},
		{func(c *Config) { c.BaseURL = "http://127.0.0.1.example.com" }, []string{"BaseURL", "must be https"}},
		{func(c *Config) { c.BaseURL = "http://0.0.0.0" }, []string{"BaseURL", "must be https"}},
		{func(c *Config) { c.ChannelID = "" }, []string{"ChannelID", `""`, "ASCII"}},
		{func(c *Config) { c.ChannelID = "12\n34" }, []string{"ChannelID", `"12\n34"`, "ASCII"}},
		{func(c *Config) { c.Secret = "" }, []string{"Secret", "empty"}},
		{func(c *Config) { c.Secret = "s3cr3t\n" }, []string{"Secret", "line feeds"}},
		{func(c *Config) { c.Version = "v2" }, []string{"Version", `"v2"`, `"v3" or "v4"`}},
		{func(c *Config) { c.ReadTimeout = -time.Second }, []string{"ReadTimeout", "-1s", "negative"}},
		{func(c *Config) { c.MaxConns = -1 }, []string{"MaxConns", "-1", "negative"}},
		{func(c *Config) { c.DeviceProfileID = "till-7" }, []string{"DeviceProfileID", `"till-7"`, "DeviceType", "together"}},
		{func(c *Config) { c.DeviceType = "POS" }, []string{"DeviceType", `"POS"`, "together"}},
		{func(c *Config) { c.DeviceProfileID, c.DeviceType = "a\r\nb", "POS" }, []string{"DeviceProfileID", "ASCII"}},
		{func(c *Config) { c.DeviceProfileID, c.DeviceType = "till-7", "収銀" }, []string{"DeviceType", "ASCII"}},
	} {
		config := Config{BaseURL: SandboxURL, ChannelID: channelForTests, Secret: secretForTests}
		row.change(&config)
		client, err := New(config)
		if (client == nil) != (err != nil) || (config.Validate() == nil) != (err == nil) {
			t.Errorf("%+v: New gave %v, %v, Validate %v", config, client, err, config.Validate())
		}
		if row.want == nil {
			if err != nil {
				t.Errorf("%+v: %v", config, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%+v: accepted, want an error that names %q", config, row.want)
			continue
		}
		for _, want := range row.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v; want it to name %q", config, err, want)
			}
		}
		if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("the error holds a secret: %v", err)
		}
	}
}

func TestHostIsOneNameForOneLINEPay(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://api-pay.line.me":           "api-pay.line.me",
		"HTTPS://API-Pay.LINE.me:443/":      "api-pay.line.me",
		"https://api-pay.line.me:8443":      "api-pay.line.me:8443",
		"http://localhost:80":               "localhost",
		"http://LocalHost:443":              "localhost:443",
		"http://[::1]:8080":                 "[::1]:8080",
		"https://sandbox-api-pay.line.me:0": "sandbox-api-pay.line.me:0",
	} {
		if got := client(t, url, nil).Host(); got != want {
			t.Errorf("%s: Host is %s, want %s", url, got, want)
		}
	}
}
