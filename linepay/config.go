package linepay

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// LINE Pay's two hosts. (developers-pay.line.me/online-api-v3)
const (
	ProductionURL = "https://api-pay.line.me"
	SandboxURL    = "https://sandbox-api-pay.line.me"
)

// defaultMaxConns is as many calls as one channel makes at once by default.
const defaultMaxConns = 64

// Config says which LINE Pay is called, for which merchant channel, and within which limits.
type Config struct {
	// BaseURL is scheme and host, such as [SandboxURL]; no path, query or user. Without TLS only for loopback hosts, or with AllowInsecure.
	BaseURL string
	// ChannelID and Secret are the merchant's, from LINE Pay's merchant center.
	ChannelID string
	Secret    Secret
	// Version is "v3" (the default) or "v4". They differ in a few optional fields.
	Version string
	// ReadTimeout replaces every operation's own one (see [Operation.ReadTimeout]) when it is not 0. It runs from the moment that the call has
	// a connection. Shorter than LINE Pay's documented time means more unknown outcomes.
	ReadTimeout time.Duration
	// DeviceProfileID and DeviceType, both or neither, show up in LINE Pay's reports.
	DeviceProfileID, DeviceType string
	// AllowInsecure permits a base URL without TLS on any host. The signature does not hide what is sent.
	AllowInsecure bool
	// MaxConns limits the connections to LINE Pay; more calls than that wait for one. 0 means 64.
	MaxConns int
	// Transport replaces the client's own connections, for tests and tracing; nil is right otherwise. It should wrap what [NewTransport] gives:
	// that one never sends a call twice, follows no proxy settings, and lets the client prove that a call was not sent.
	Transport http.RoundTripper
}

// Validate gives nil, or an error that names the field, its value and the rule it breaks. The secret's value is not named.
func (c Config) Validate() error {
	if _, err := c.base(); err != nil {
		return err
	}
	switch {
	case !headerText(c.ChannelID):
		return fmt.Errorf("ChannelID %q: must be 1 to 100 visible ASCII characters; LINE Pay's are ten digits", clip(c.ChannelID))
	case c.Secret == "":
		return broken("Secret", "must not be empty")
	case strings.ContainsFunc(c.Secret.Reveal(), func(r rune) bool { return r <= ' ' || r == 0x7f }):
		// The usual cause is the line feed at the end of a file. LINE Pay would answer 1106 and not say why.
		return broken("Secret", "must not contain spaces, line feeds or control characters")
	case c.Version != "" && c.Version != "v3" && c.Version != "v4":
		return broken(fmt.Sprintf("Version %q", clip(c.Version)), `must be "v3" or "v4"`)
	case c.ReadTimeout < 0:
		return fmt.Errorf("ReadTimeout %s: must not be negative; 0 means LINE Pay's documented times", c.ReadTimeout)
	case c.MaxConns < 0:
		return fmt.Errorf("MaxConns %d: must not be negative; 0 means %d", c.MaxConns, defaultMaxConns)
	case (c.DeviceProfileID == "") != (c.DeviceType == ""):
		return fmt.Errorf("DeviceProfileID %q and DeviceType %q: must be given together", clip(c.DeviceProfileID), clip(c.DeviceType))
	case c.DeviceProfileID != "" && !headerText(c.DeviceProfileID):
		return fmt.Errorf("DeviceProfileID %q: must be 1 to 100 visible ASCII characters", clip(c.DeviceProfileID))
	case c.DeviceType != "" && !headerText(c.DeviceType):
		return fmt.Errorf("DeviceType %q: must be 1 to 100 visible ASCII characters", clip(c.DeviceType))
	}
	return nil
}

func broken(field, rule string) error { return fmt.Errorf("%s: %s", field, rule) }

// base reads BaseURL. Nothing that could be a password is repeated in its errors.
func (c Config) base() (*url.URL, error) {
	const rule = "must be scheme and host alone, such as " + SandboxURL
	if strings.Contains(c.BaseURL, "@") {
		return nil, broken("BaseURL", rule+"; it must not contain a user or password")
	}
	u, err := url.Parse(c.BaseURL)
	if err != nil || u.Hostname() == "" || u.Opaque != "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, fmt.Errorf("BaseURL %q: %s", clip(c.BaseURL), rule)
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(u.Host, ":") {
		return nil, fmt.Errorf("BaseURL %q: %s; the API version is a setting of its own", clip(c.BaseURL), rule)
	}
	if u.Scheme == "http" && !c.AllowInsecure && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("BaseURL %q: must be https; without TLS only a loopback host is called, unless insecure connections are allowed", clip(c.BaseURL))
	}
	// One host has one name: it takes part in naming what is guarded.
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return &url.URL{Scheme: u.Scheme, Host: host}, nil
}

func (c Config) version() string {
	if c.Version == "" {
		return "v3"
	}
	return c.Version
}

func (c Config) maxConns() int {
	if c.MaxConns == 0 {
		return defaultMaxConns
	}
	return c.MaxConns
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && net.IP(addr.AsSlice()).IsLoopback()
}

// headerText reports whether s can stand in a header as it is.
func headerText(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
