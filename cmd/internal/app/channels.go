package app

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"linepay-worker/linepay"
)

const maxConcurrency = 10000

// Channel is one merchant account at LINE Pay, under the name that subjects and metrics use.
type Channel struct {
	Name            string // [a-z0-9_-]{1,32}
	ID              string // LINE Pay's channel id
	Secret          linepay.Secret
	BaseURL         string // without a path
	APIVersion      string // v3 or v4
	Concurrency     int    // commands in flight, 1 to 10000
	RateLimit       int    // calls to LINE Pay per second; 0: no limit
	DeviceProfileID string // X-LINE-MerchantDeviceProfileId; empty: not sent
	DeviceType      string // X-LINE-MerchantDeviceType; empty: not sent
}

// ChannelSettings name the merchant accounts: one from flags and environment, or several from a file.
type ChannelSettings struct {
	File       string         `name:"channels" env:"LINEPAY_CHANNELS" placeholder:"FILE" help:"YAML file with several channels, instead of the settings of a single one."`
	Name       string         `name:"channel" env:"LINEPAY_CHANNEL" default:"default" help:"Name of the single channel ([a-z0-9_-], 1 to 32 characters)."`
	ID         string         `name:"channel-id" env:"LINEPAY_CHANNEL_ID" placeholder:"ID" help:"LINE Pay's channel id."`
	Secret     linepay.Secret `name:"channel-secret" env:"LINEPAY_CHANNEL_SECRET" placeholder:"SECRET" help:"LINE Pay's channel secret. Other users may see flags: prefer the environment or a file."`
	SecretFile string         `name:"channel-secret-file" env:"LINEPAY_CHANNEL_SECRET_FILE" placeholder:"FILE" help:"File with LINE Pay's channel secret."`
	BaseURL    string         `name:"base-url" env:"LINEPAY_BASE_URL" default:"https://sandbox-api-pay.line.me" help:"LINE Pay's address; the default is its sandbox, production is https://api-pay.line.me."`
	APIVersion string         `name:"api-version" env:"LINEPAY_API_VERSION" default:"v3" help:"Version of LINE Pay's API (v3 or v4)."`
	Insecure   bool           `name:"insecure" help:"Allow LINE Pay addresses without TLS that are not on this machine."`
}

// Load gives the channels, sorted by name, each checked, no two of them the same account. concurrency is for those that set none.
// Errors name file, line and setting; they never hold a secret.
func (s ChannelSettings) Load(concurrency int) ([]Channel, error) {
	channels, err := s.read()
	if err != nil {
		return nil, err
	}
	for i := range channels {
		if channels[i].Concurrency == 0 {
			channels[i].Concurrency = concurrency
		}
		if err := channels[i].validate(s.Insecure); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(channels, func(a, b Channel) int { return strings.Compare(a.Name, b.Name) })
	return channels, distinct(channels)
}

func (s ChannelSettings) read() ([]Channel, error) {
	if s.File != "" {
		if s.ID != "" || s.Secret != "" || s.SecretFile != "" {
			return nil, &SettingError{Setting: "LINEPAY_CHANNELS", Value: s.File, Rule: "excludes LINEPAY_CHANNEL_ID, " +
				"LINEPAY_CHANNEL_SECRET and LINEPAY_CHANNEL_SECRET_FILE: put that channel into the file"}
		}
		return readChannelsFile(s.File)
	}
	if s.ID == "" {
		return nil, &SettingError{Setting: "LINEPAY_CHANNEL_ID", Rule: "is missing: set it to LINE Pay's channel id, or name a file with channels in LINEPAY_CHANNELS"}
	}
	secret, err := s.secret()
	if err != nil {
		return nil, err
	}
	return []Channel{{Name: s.Name, ID: s.ID, Secret: secret, BaseURL: s.BaseURL, APIVersion: s.APIVersion}}, nil
}

func (s ChannelSettings) secret() (linepay.Secret, error) {
	switch {
	case s.Secret != "" && s.SecretFile != "":
		return "", &SettingError{Setting: "LINEPAY_CHANNEL_SECRET_FILE", Value: s.SecretFile, Rule: "excludes LINEPAY_CHANNEL_SECRET: set one of the two"}
	case s.SecretFile != "":
		secret, err := readSecretFile(s.SecretFile)
		if err != nil {
			return "", &SettingError{Setting: "LINEPAY_CHANNEL_SECRET_FILE", Value: s.SecretFile, Rule: err.Error()}
		}
		return secret, nil
	case s.Secret == "":
		return "", &SettingError{Setting: "LINEPAY_CHANNEL_SECRET", Rule: "is missing: set it, or name a file in LINEPAY_CHANNEL_SECRET_FILE"}
	}
	return s.Secret, nil
}

// readSecretFile drops one newline at the end, as editors and `echo` leave it; nothing else, since spaces may be part of a secret.
func readSecretFile(path string) (linepay.Secret, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if strings.TrimSpace(secret) == "" {
		return "", errors.New("is empty: it must hold the channel secret")
	}
	return linepay.Secret(secret), nil
}

// channelEntry is one channel in the file.
type channelEntry struct {
	Name            string         `yaml:"name"`
	ID              string         `yaml:"id"`
	Secret          linepay.Secret `yaml:"secret"`
	SecretFile      string         `yaml:"secretFile"`
	Environment     string         `yaml:"environment"`
	BaseURL         string         `yaml:"baseURL"`
	APIVersion      string         `yaml:"apiVersion"`
	Concurrency     int            `yaml:"concurrency"`
	RateLimit       int            `yaml:"rateLimit"`
	DeviceProfileID string         `yaml:"deviceProfileId"`
	DeviceType      string         `yaml:"deviceType"`
}

func readChannelsFile(path string) ([]Channel, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, &SettingError{Setting: "LINEPAY_CHANNELS", Value: path, Rule: fmt.Sprintf("cannot be read: %v", err)}
	}
	entries, err := parseChannels(content)
	if err != nil {
		return nil, fmt.Errorf("LINEPAY_CHANNELS (--channels): %s%w", path, err)
	}
	channels := make([]Channel, 0, len(entries))
	for i, entry := range entries {
		channel, err := entry.channel(filepath.Dir(path))
		if err != nil {
			return nil, fmt.Errorf("LINEPAY_CHANNELS (--channels): %s: channel %d (%q): %w", path, i+1, entry.Name, err)
		}
		channels = append(channels, channel)
	}
	return channels, nil
}

// parseChannels reads a list of channels, alone or under `channels:`. Its errors begin with the place: ":line:column: ".
func parseChannels(content []byte) (entries []channelEntry, err error) {
	defer func() {
		// The library panics on some documents that are none of ours, such as a number tagged as a list.
		if recover() != nil {
			entries, err = nil, errNotChannels
		}
	}()
	// Settings given twice are left to the decoder, which says so.
	file, err := parser.ParseBytes(content, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, explainYAML(err)
	}
	if len(file.Docs) > 1 {
		return nil, errors.New(": holds several YAML documents: write one list of channels")
	}
	var list struct {
		Channels []channelEntry `yaml:"channels"`
	}
	if len(file.Docs) == 1 {
		switch body := file.Docs[0].Body.(type) {
		case *ast.SequenceNode:
			err = yaml.NodeToValue(body, &list.Channels, yaml.Strict())
		case *ast.MappingNode:
			err = yaml.NodeToValue(body, &list, yaml.Strict())
		}
	}
	if err != nil {
		return nil, explainYAML(err)
	}
	if len(list.Channels) == 0 {
		return nil, errors.New(": holds no channels: write `channels:` and below it one entry per channel, each with name, id and secretFile")
	}
	return list.Channels, nil
}

var errNotChannels = errors.New(": is not a YAML document with a list `channels`")

// explainYAML says what is wrong and where, in words of its own: the library's messages may quote the lines around the mistake, and
// with them a secret.
func explainYAML(err error) error {
	var located yaml.Error
	if !errors.As(err, &located) || located.GetToken() == nil || located.GetToken().Position == nil {
		return errNotChannels
	}
	at := located.GetToken().Position
	what := "is not well-formed YAML"
	switch mistake := located.(type) {
	case *yaml.UnknownFieldError:
		what = fmt.Sprintf("unknown setting %q; a channel has name, id, secret or secretFile, environment or baseURL, apiVersion, "+
			"concurrency, rateLimit, deviceProfileId, deviceType", mistake.Token.Value)
	case *yaml.DuplicateKeyError:
		what = fmt.Sprintf("%q is set twice", mistake.Token.Value)
	case *yaml.TypeError:
		what = "must be of type " + mistake.DstType.Kind().String()
	case *yaml.OverflowError, *yaml.UnexpectedNodeTypeError:
		what = "has a value of the wrong kind"
	}
	return fmt.Errorf(":%d:%d: %s", at.Line, at.Column, what)
}

// channel resolves what the file leaves to defaults; secretFile is relative to dir, the folder of the file that names it.
func (e channelEntry) channel(dir string) (Channel, error) {
	c := Channel{
		Name: e.Name, ID: e.ID, Secret: e.Secret, BaseURL: e.BaseURL, APIVersion: e.APIVersion, Concurrency: e.Concurrency,
		RateLimit: e.RateLimit, DeviceProfileID: e.DeviceProfileID, DeviceType: e.DeviceType,
	}
	if (e.Secret == "") == (e.SecretFile == "") {
		return c, errors.New("set either secret or secretFile")
	}
	if e.SecretFile != "" {
		path := e.SecretFile
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		var err error
		if c.Secret, err = readSecretFile(path); err != nil {
			return c, fmt.Errorf("secretFile %s %w", path, err)
		}
	}
	if e.Environment != "" && e.BaseURL != "" {
		return c, errors.New("set either environment or baseURL")
	}
	switch e.Environment {
	case "":
		if e.BaseURL == "" {
			c.BaseURL = linepay.SandboxURL
		}
	case "sandbox":
		c.BaseURL = linepay.SandboxURL
	case "production":
		c.BaseURL = linepay.ProductionURL
	default:
		return c, fmt.Errorf("environment is %q: must be sandbox or production", e.Environment)
	}
	if c.APIVersion == "" {
		c.APIVersion = "v3"
	}
	return c, nil
}

var channelName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// validate leaves to the client what is the client's: address, id, secret, version, device.
func (c Channel) validate(insecure bool) error {
	var p problems
	rule := func(holds bool, field string, value any, rule string) {
		if !holds {
			p.add(fmt.Errorf("channel %q: %s is %v: %s", c.Name, field, value, rule))
		}
	}
	rule(channelName.MatchString(c.Name), "name", strconv.Quote(c.Name), "must be 1 to 32 of a-z, 0-9, _ and -, since it is part of subjects")
	rule(c.Concurrency >= 1 && c.Concurrency <= maxConcurrency, "concurrency", c.Concurrency, "must be 1 to 10000")
	rule(c.RateLimit >= 0, "rateLimit", c.RateLimit, "must be calls per second, or 0 for no limit")
	client := linepay.Config{
		BaseURL: c.BaseURL, ChannelID: c.ID, Secret: c.Secret, Version: c.APIVersion, DeviceProfileID: c.DeviceProfileID, DeviceType: c.DeviceType,
		AllowInsecure: insecure,
	}
	if err := client.Validate(); err != nil {
		client.AllowInsecure = true
		if client.Validate() == nil {
			err = fmt.Errorf("%w (--insecure)", err)
		}
		p.add(fmt.Errorf("channel %q: %w", c.Name, err))
	}
	return p.error()
}

// distinct refuses two channels of one name, and two names for one account: the guard keeps records by host and channel id, so they
// would block each other, and a command on the one could not be told from the same command on the other.
func distinct(channels []Channel) error {
	var p problems
	names, accounts := map[string]bool{}, map[[2]string]string{}
	for _, c := range channels {
		if names[c.Name] {
			p.add(fmt.Errorf("channel %q is configured twice: give each channel a name of its own", c.Name))
		}
		names[c.Name] = true
		account := [2]string{apiHost(c.BaseURL), c.ID}
		if first, taken := accounts[account]; taken && first != c.Name {
			p.add(fmt.Errorf("channels %q and %q are one account (id %s at %s): keep one of them", first, c.Name, c.ID, account[0]))
		}
		accounts[account] = c.Name
	}
	return p.error()
}

// apiHost is the host of an address as LINE Pay sees it: lower-case, with the port only where it is not the scheme's own.
func apiHost(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if port := u.Port(); port != "" && !(u.Scheme == "https" && port == "443") && !(u.Scheme == "http" && port == "80") {
		return host + ":" + port
	}
	return host
}
