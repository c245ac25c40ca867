package app

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"linepay-worker/linepay"
)

const maxConcurrency = 10000

// Bounds of a channel's circuit breaker.
const (
	mostBreakerFaults = 1000
	leastBreakerPause = 100 * time.Millisecond
	mostBreakerPause  = time.Hour
)

// Channel is one merchant account at LINE Pay, under the name that subjects and metrics use.
type Channel struct {
	Name            string // [a-z0-9_-]{1,32}
	ID              string // LINE Pay's channel id
	Secret          linepay.Secret
	BaseURL         string        // without a path
	APIVersion      string        // v3 or v4
	Concurrency     int           // commands in flight, 1 to 10000
	RateLimit       int           // commands started a second; 0: no limit
	BreakerFaults   int           // faults of LINE Pay in a row that open the circuit breaker; 0: 10
	BreakerPause    time.Duration // until one command may try again; 0: five times RETRY_MIN
	DeviceProfileID string        // X-LINE-MerchantDeviceProfileId; empty: not sent
	DeviceType      string        // X-LINE-MerchantDeviceType; empty: not sent
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

	Prefix string `kong:"-"` // what these flags begin with where they are embedded with one, for errors
}

// flag names the flag of a setting.
func (s ChannelSettings) flag(setting string) string {
	if flag, own := strings.CutPrefix(setting, "--"); own {
		return "--" + s.Prefix + flag
	}
	if strings.HasPrefix(setting, "LINEPAY_") {
		return s.flag(flagOf(setting))
	}
	return flagOf(setting)
}

func (s ChannelSettings) wrong(setting, value, rule string) error {
	return &SettingError{Setting: setting, Flag: s.flag(setting), Value: value, Rule: rule}
}

// Load gives the channels, sorted by name, each checked, no two of them the same account. concurrency is for those that set none.
// Errors name file, line and setting; they never hold a secret.
func (s ChannelSettings) Load(concurrency int) ([]Channel, error) {
	found, err := s.read(concurrency)
	if err != nil {
		return nil, err
	}
	var p problems
	channels := make([]Channel, 0, len(found))
	for _, each := range found {
		p.add(each.validate(s.Insecure, s.flag("--insecure")))
		channels = append(channels, each.Channel)
	}
	if len(p) > 0 {
		return nil, p.error()
	}
	slices.SortFunc(channels, func(a, b Channel) int { return strings.Compare(a.Name, b.Name) })
	return channels, distinct(channels)
}

func (s ChannelSettings) read(concurrency int) ([]configured, error) {
	if s.File != "" {
		if s.ID != "" || s.Secret != "" || s.SecretFile != "" {
			return nil, s.wrong("LINEPAY_CHANNELS", s.File, "excludes LINEPAY_CHANNEL_ID, "+
				"LINEPAY_CHANNEL_SECRET and LINEPAY_CHANNEL_SECRET_FILE: put that channel into the file")
		}
		return readChannelsFile(s.File, concurrency)
	}
	var p problems
	if s.ID == "" {
		p.add(s.wrong("LINEPAY_CHANNEL_ID", "", "is missing: set it to LINE Pay's channel id, or name a file with channels in LINEPAY_CHANNELS"))
	}
	secret, err := s.secret()
	if p.add(err); len(p) > 0 {
		return nil, p.error()
	}
	return []configured{{
		Channel:  Channel{Name: s.Name, ID: s.ID, Secret: secret, BaseURL: s.BaseURL, APIVersion: s.APIVersion, Concurrency: concurrency},
		settings: s.settingOf,
	}}, nil
}

// settingOf names the setting that a channel's field comes from.
func (s ChannelSettings) settingOf(f field) string {
	variable := map[field]string{
		fieldName: "LINEPAY_CHANNEL", fieldID: "LINEPAY_CHANNEL_ID", fieldSecret: "LINEPAY_CHANNEL_SECRET", fieldBaseURL: "LINEPAY_BASE_URL",
		fieldAPIVersion: "LINEPAY_API_VERSION", fieldConcurrency: "CONCURRENCY",
	}[f]
	if f == fieldSecret && s.SecretFile != "" {
		variable = "LINEPAY_CHANNEL_SECRET_FILE"
	}
	return variable + " (" + s.flag(variable) + ")"
}

func (s ChannelSettings) secret() (linepay.Secret, error) {
	switch {
	case s.Secret != "" && s.SecretFile != "":
		return "", s.wrong("LINEPAY_CHANNEL_SECRET_FILE", fileShown(s.SecretFile), "excludes LINEPAY_CHANNEL_SECRET: set one of the two")
	case s.SecretFile != "":
		secret, err := readSecretFile(s.SecretFile)
		if err != nil {
			return "", s.wrong("LINEPAY_CHANNEL_SECRET_FILE", fileShown(s.SecretFile), err.Error())
		}
		return secret, nil
	case s.Secret == "":
		return "", s.wrong("LINEPAY_CHANNEL_SECRET", "", "is missing: set it, or name a file in LINEPAY_CHANNEL_SECRET_FILE")
	}
	return s.Secret, nil
}

// field is a part of a channel, by its name in the file.
type field string

const (
	fieldName        field = "name"
	fieldID          field = "id"
	fieldSecret      field = "secret"
	fieldSecretFile  field = "secretFile"
	fieldEnvironment field = "environment"
	fieldBaseURL     field = "baseURL"
	fieldAPIVersion  field = "apiVersion"
	fieldConcurrency field = "concurrency"
	fieldRateLimit   field = "rateLimit"
	fieldBreaker     field = "breaker"
	fieldProfileID   field = "deviceProfileId"
	fieldDeviceType  field = "deviceType"
)

// configured is a channel with the settings that it comes from.
type configured struct {
	Channel
	settings func(field) string // where a field was set, for errors
}

var channelName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// validate leaves to the client what is the client's: address, id, secret, version, device.
func (c configured) validate(insecure bool, flag string) error {
	var p problems
	rule := func(holds bool, f field, value any, rule string) {
		if !holds {
			p.add(fmt.Errorf("%s is %v: %s", c.settings(f), value, rule))
		}
	}
	rule(channelName.MatchString(c.Name), fieldName, strconv.Quote(c.Name), "must be 1 to 32 of a-z, 0-9, _ and -, since it is part of subjects")
	rule(c.Concurrency >= 1 && c.Concurrency <= maxConcurrency, fieldConcurrency, c.Concurrency, "must be 1 to 10000")
	rule(c.RateLimit >= 0, fieldRateLimit, c.RateLimit, "must be commands a second, or 0 for no limit")
	rule(c.BreakerFaults >= 0 && c.BreakerFaults <= mostBreakerFaults, fieldBreaker, fmt.Sprintf("faults: %d", c.BreakerFaults),
		"must be 1 to 1000 faults in a row, or left out for 10")
	rule(c.BreakerPause == 0 || c.BreakerPause >= leastBreakerPause && c.BreakerPause <= mostBreakerPause, fieldBreaker,
		fmt.Sprintf("pause: %s", c.BreakerPause), "must be 100ms to 1h, or left out for five times RETRY_MIN")
	p.add(c.validateClient(insecure, flag))
	return p.error()
}

// validateClient asks the client about one field after the other, beside others that are right, so that each error has its setting.
func (c configured) validateClient(insecure bool, flag string) error {
	var p problems
	for _, part := range []struct {
		field field
		value string // as shown; "" for a secret
		set   func(*linepay.Config)
	}{
		{fieldBaseURL, redact(c.BaseURL), func(l *linepay.Config) { l.BaseURL = c.BaseURL }},
		{fieldID, strconv.Quote(c.ID), func(l *linepay.Config) { l.ChannelID = c.ID }},
		{fieldSecret, "", func(l *linepay.Config) { l.Secret = c.Secret }},
		{fieldAPIVersion, strconv.Quote(c.APIVersion), func(l *linepay.Config) { l.Version = c.APIVersion }},
		{fieldDeviceType, fmt.Sprintf("%q beside %s %q", c.DeviceType, fieldProfileID, c.DeviceProfileID), func(l *linepay.Config) { l.DeviceProfileID, l.DeviceType = c.DeviceProfileID, c.DeviceType }},
	} {
		config := linepay.Config{BaseURL: linepay.SandboxURL, ChannelID: "1", Secret: "1", AllowInsecure: insecure}
		part.set(&config)
		err := config.Validate()
		if err == nil {
			continue
		}
		rule := clientField.ReplaceAllString(err.Error(), "")
		if config.AllowInsecure = true; config.Validate() == nil {
			rule += " (" + flag + ")"
		}
		if part.value != "" {
			rule = "is " + part.value + ": " + rule
		}
		p.add(errors.New(c.settings(part.field) + " " + rule))
	}
	return p.error()
}

// clientField is what a client's error begins with: its own names of one or two fields, and their values.
var clientField = regexp.MustCompile(`^\w+( "([^"\\]|\\.)*")?( and \w+ "([^"\\]|\\.)*")?: `)

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
