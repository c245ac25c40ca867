package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"linepay-worker/linepay"
)

// channelEntry is one channel in the file.
type channelEntry struct {
	Name            string         `yaml:"name"`
	ID              string         `yaml:"id"`
	Secret          linepay.Secret `yaml:"secret"`
	SecretFile      string         `yaml:"secretFile"`
	Environment     string         `yaml:"environment"`
	BaseURL         string         `yaml:"baseURL"`
	APIVersion      string         `yaml:"apiVersion"`
	Concurrency     *int           `yaml:"concurrency"` // nil: as CONCURRENCY says
	RateLimit       int            `yaml:"rateLimit"`
	Breaker         breakerEntry   `yaml:"breaker"`
	DeviceProfileID string         `yaml:"deviceProfileId"`
	DeviceType      string         `yaml:"deviceType"`

	at places
}

// breakerEntry is a channel's circuit breaker in the file.
type breakerEntry struct {
	Faults *int   `yaml:"faults"`
	Pause  string `yaml:"pause"` // a duration
}

// read gives what is set; nil and "" are left to the defaults.
func (b breakerEntry) read() (faults int, pause time.Duration, err error) {
	if b.Faults != nil {
		if faults = *b.Faults; faults < 1 {
			return 0, 0, fmt.Errorf("breaker: faults is %d: must be 1 to %d faults in a row", faults, mostBreakerFaults)
		}
	}
	if b.Pause != "" {
		if pause, err = time.ParseDuration(b.Pause); err != nil || pause <= 0 {
			return 0, 0, fmt.Errorf("breaker: pause is %q: must be a duration such as 10s", b.Pause)
		}
	}
	return faults, pause, nil
}

// places are where an entry's settings stand, and under "" the entry itself.
type places map[field]*token.Position

func (p places) of(f field) *token.Position {
	if at := p[f]; at != nil {
		return at
	}
	return p[""]
}

func readChannelsFile(path string, concurrency int) ([]configured, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, &SettingError{Setting: "LINEPAY_CHANNELS", Value: path, Rule: fmt.Sprintf("cannot be read: %v", err)}
	}
	file := "LINEPAY_CHANNELS (--channels): " + path
	entries, err := parseChannels(content)
	if err != nil {
		return nil, fmt.Errorf("%s%w", file, err)
	}
	var p problems
	channels := make([]configured, 0, len(entries))
	for i, entry := range entries {
		channel, wrong, err := entry.channel(filepath.Dir(path))
		if channel.Concurrency = concurrency; entry.Concurrency != nil {
			channel.Concurrency = *entry.Concurrency
		}
		place := func(f field) string {
			if at := entry.at.of(f); at != nil {
				return fmt.Sprintf("%s:%d:%d: ", file, at.Line, at.Column)
			}
			return file + ": "
		}
		switch {
		case entry.Name == "":
			p.add(fmt.Errorf("%schannel %d has no name", place(""), i+1))
		case entry.ID == "":
			p.add(fmt.Errorf("%schannel %q has no id", place(fieldName), entry.Name))
		case err != nil:
			p.add(fmt.Errorf("%schannel %q: %w", place(wrong), entry.Name, err))
		}
		channels = append(channels, configured{channel, func(f field) string {
			if f == fieldSecret && entry.SecretFile != "" {
				f = fieldSecretFile
			}
			return fmt.Sprintf("%schannel %q: %s", place(f), entry.Name, f)
		}})
	}
	return channels, p.error()
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
		return nil, explainYAML(err, nil)
	}
	if len(file.Docs) > 1 {
		return nil, errors.New(": holds several YAML documents: write one list of channels")
	}
	var list struct {
		Channels []channelEntry `yaml:"channels"`
	}
	if len(file.Docs) == 1 {
		body := file.Docs[0].Body
		switch body.(type) {
		case *ast.SequenceNode:
			err = yaml.NodeToValue(body, &list.Channels, yaml.Strict())
		case *ast.MappingNode:
			err = yaml.NodeToValue(body, &list, yaml.Strict())
		}
		if err != nil {
			return nil, explainYAML(err, body)
		}
		locate(list.Channels, body)
	}
	if len(list.Channels) == 0 {
		return nil, errors.New(": holds no channels: write `channels:` and below it one entry per channel, each with name, id and secretFile")
	}
	return list.Channels, nil
}

// locate notes where the entries' settings stand. It knows the plain form; of what comes by anchors it leaves the place open.
func locate(entries []channelEntry, body ast.Node) {
	if top, ok := body.(*ast.MappingNode); ok && len(top.Values) > 0 {
		body = top.Values[0].Value
	}
	list, ok := body.(*ast.SequenceNode)
	if !ok || len(list.Values) != len(entries) {
		return
	}
	for i, node := range list.Values {
		entry, ok := node.(*ast.MappingNode)
		if !ok || len(entry.Values) == 0 {
			continue
		}
		at := places{"": entry.Values[0].Key.GetToken().Position}
		for _, setting := range entry.Values {
			at[field(setting.Key.String())] = setting.Value.GetToken().Position
		}
		entries[i].at = at
	}
}

var errNotChannels = errors.New(": is not a YAML document with a list `channels`")

// explainYAML says what is wrong and where, in words of its own: the library's messages may quote the lines around the mistake, and
// with them a secret.
func explainYAML(err error, body ast.Node) error {
	var located yaml.Error
	if !errors.As(err, &located) || located.GetToken() == nil || located.GetToken().Position == nil {
		return errNotChannels
	}
	at := located.GetToken().Position
	what := "is not well-formed YAML"
	switch mistake := located.(type) {
	case *yaml.UnknownFieldError:
		what = fmt.Sprintf("unknown setting %s; %s", shown(mistake.Token.Value), knownAt(at, body))
	case *yaml.DuplicateKeyError:
		what = shown(mistake.Token.Value) + " is set twice"
	case *yaml.TypeError:
		what = settingAt(at, body) + "must be " + kindInWords(mistake.DstType)
	case *yaml.OverflowError, *yaml.UnexpectedNodeTypeError:
		what = settingAt(at, body) + "has a value of the wrong kind"
	}
	return fmt.Errorf(":%d:%d: %s", at.Line, at.Column, what)
}

// settingLike is what the name of a setting may look like, misspelt as it may be.
var settingLike = regexp.MustCompile(`^[A-Za-z][A-Za-z_-]{0,29}$`)

// shown quotes what stands in the place of a setting's name, unless it does not look like one: with a colon forgotten it holds the secret.
func shown(name string) string {
	if settingLike.MatchString(name) {
		return strconv.Quote(name)
	}
	return "(not shown, since it may hold a secret)"
}

// knownAt lists the settings that a place may have: the top of the file, or a channel.
func knownAt(at *token.Position, body ast.Node) string {
	if top, ok := body.(*ast.MappingNode); ok {
		for _, setting := range top.Values {
			if *setting.Key.GetToken().Position == *at {
				return "known at the top: channels"
			}
		}
	}
	if within(at, body, fieldBreaker) {
		return "breaker has faults, pause"
	}
	return "a channel has name, id, secret or secretFile, environment or baseURL, apiVersion, concurrency, rateLimit, breaker, deviceProfileId, " +
		"deviceType"
}

// within says whether a place is that of a setting within a channel's setting f.
func within(at *token.Position, body ast.Node, f field) (found bool) {
	ast.Walk(visitor(func(node ast.Node) {
		outer, ok := node.(*ast.MappingValueNode)
		if !ok || outer.Key.String() != string(f) {
			return
		}
		if inner, ok := outer.Value.(*ast.MappingNode); ok {
			for _, setting := range inner.Values {
				found = found || *setting.Key.GetToken().Position == *at
			}
		}
	}), body)
	return found
}

// visitor looks at every node of a document.
type visitor func(ast.Node)

// Visit looks at one node.
func (v visitor) Visit(node ast.Node) ast.Visitor {
	v(node)
	return v
}

// settingAt names the setting whose value begins at a place, with a space behind it; "" where that is unclear.
func settingAt(at *token.Position, body ast.Node) string {
	find := &settingFinder{at: at}
	if body != nil {
		ast.Walk(find, body)
	}
	return find.name
}

type settingFinder struct {
	at   *token.Position
	name string
}

// Visit looks at one node of the document.
func (f *settingFinder) Visit(node ast.Node) ast.Visitor {
	if setting, ok := node.(*ast.MappingValueNode); ok {
		if first := setting.Value.GetToken(); first != nil && first.Position.Offset == f.at.Offset {
			if f.name = setting.Key.String() + " "; !settingLike.MatchString(setting.Key.String()) {
				f.name = ""
			}
		}
	}
	return f
}

func kindInWords(kind reflect.Type) string {
	switch kind.Kind() {
	case reflect.Int, reflect.Pointer:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "settings with their values"
	default:
		return "text"
	}
}

// channel resolves what the file leaves to defaults; secretFile is relative to dir, the folder of the file that names it. An error comes
// with the setting that it is about.
func (e channelEntry) channel(dir string) (c Channel, wrong field, err error) {
	c = Channel{
		Name: e.Name, ID: e.ID, Secret: e.Secret, BaseURL: e.BaseURL, APIVersion: e.APIVersion,
		RateLimit: e.RateLimit, DeviceProfileID: e.DeviceProfileID, DeviceType: e.DeviceType,
	}
	switch {
	case e.Secret != "" && e.SecretFile != "":
		return c, fieldSecretFile, errors.New("secret and secretFile are both set: keep one of them")
	case e.Secret == "" && e.SecretFile == "":
		return c, fieldName, errors.New("neither secret nor secretFile is set: set one of them")
	case e.SecretFile != "":
		path := e.SecretFile
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if c.Secret, err = readSecretFile(path); err != nil {
			return c, fieldSecretFile, fmt.Errorf("secretFile %s %w", fileShown(path), err)
		}
	}
	if c.BreakerFaults, c.BreakerPause, err = e.Breaker.read(); err != nil {
		return c, fieldBreaker, err
	}
	if c.APIVersion == "" {
		c.APIVersion = "v3"
	}
	switch {
	case e.Environment != "" && e.BaseURL != "":
		return c, fieldEnvironment, errors.New("environment and baseURL are both set: keep one of them")
	case e.BaseURL != "":
	case e.Environment == "" || e.Environment == "sandbox":
		c.BaseURL = linepay.SandboxURL
	case e.Environment == "production":
		c.BaseURL = linepay.ProductionURL
	default:
		return c, fieldEnvironment, fmt.Errorf("environment is %q: must be sandbox or production", e.Environment)
	}
	return c, "", nil
}

// readSecretFile drops one newline at the end, as editors and `echo` leave it; nothing else, since spaces may be part of a secret.
func readSecretFile(path string) (linepay.Secret, error) {
	content, err := os.ReadFile(path)
	if wrong, ok := errors.AsType[*os.PathError](err); ok {
		err = wrong.Err // without the path
	}
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if strings.TrimSpace(secret) == "" {
		return "", errors.New("is empty: it must hold the channel secret")
	}
	return linepay.Secret(secret), nil
}

// secretLike is LINE Pay's channel secret.
var secretLike = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)

// fileShown is the path of a file with a secret, unless somebody has written the secret itself in its place.
func fileShown(path string) string {
	if dir, name := filepath.Split(path); secretLike.MatchString(name) {
		return dir + "… (what looks like the secret itself is not shown)"
	}
	return path
}
