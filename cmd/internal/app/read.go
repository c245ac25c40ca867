package app

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Read and Usage do for linepay-worker what Parser does for the programs with many verbs, from the same tags. kong finds methods by their
// names, so the linker has to keep every method of every type that the program meets: the daemon, which links no kong, is smaller by 9 MB
// of 25. A test holds the two against each other.

// ErrHelp means that the arguments ask for help.
var ErrHelp = errors.New("help was asked for")

// setting is one field of a group.
type setting struct {
	group, name, env, standard, placeholder, help string
	negatable                                     bool
	value                                         reflect.Value
}

// Read fills settings, a pointer to a struct of embedded groups, from their defaults, the environment and arguments, and lets each group
// check itself. A flag wins over its variable; a variable that is set but empty counts as not set.
//
// Errors: ErrHelp; else one line for each thing that is wrong, with the flag, and the variable where that is at fault.
func Read(settings any, arguments []string) error {
	all := settingsOf(settings)
	given, err := readArguments(all, arguments)
	if err != nil {
		return err
	}
	var p problems
	for _, s := range all {
		text, from, flag := s.standard, "", false
		if value := os.Getenv(s.env); s.env != "" && value != "" {
			text, from = value, fmt.Sprintf(" (from envar %s=%q)", s.env, value)
		}
		if value, ok := given[s.name]; ok {
			text, from, flag = value, "", true
		}
		if text == "" && !flag {
			continue
		}
		if err := s.set(text); err != nil {
			p.add(fmt.Errorf("--%s: %w%s", s.name, err, from))
		}
	}
	if len(p) > 0 {
		return p.error()
	}
	for group := range groupsOf(settings) {
		if checks, ok := group.(interface{ Validate() error }); ok {
			p.add(checks.Validate())
		}
	}
	return p.error()
}

// groupsOf gives the embedded groups as they are, with the names of their sections.
func groupsOf(settings any) func(yield func(group any, section string) bool) {
	return func(yield func(any, string) bool) {
		of := reflect.ValueOf(settings).Elem()
		for i := range of.NumField() {
			if tag := of.Type().Field(i).Tag; !yield(of.Field(i).Addr().Interface(), tag.Get("group")) {
				return
			}
		}
	}
}

func settingsOf(settings any) (all []setting) {
	for group, section := range groupsOf(settings) {
		of := reflect.ValueOf(group).Elem()
		for i := range of.NumField() {
			tag := of.Type().Field(i).Tag
			if tag.Get("name") == "" {
				continue
			}
			_, negatable := tag.Lookup("negatable")
			all = append(all, setting{
				group: section, name: tag.Get("name"), env: tag.Get("env"), standard: tag.Get("default"), placeholder: tag.Get("placeholder"),
				help: tag.Get("help"), negatable: negatable, value: of.Field(i),
			})
		}
	}
	return all
}

func (s setting) isBool() bool { return s.value.Kind() == reflect.Bool }

// set writes a value into its field.
func (s setting) set(text string) error {
	switch s.value.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return notDuration(text)
		}
		s.value.SetInt(int64(d))
		return nil
	case bool:
		truth, known := map[string]bool{"true": true, "1": true, "yes": true, "false": false, "0": false, "no": false}[strings.ToLower(text)]
		if !known {
			return fmt.Errorf("bool value must be true, 1, yes, false, 0 or no but got %q", text)
		}
		s.value.SetBool(truth)
		return nil
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return notWhole(text)
		}
		s.value.SetInt(int64(n))
		return nil
	}
	s.value.SetString(text)
	return nil
}

// readArguments gives the values of the flags that are there, the last of each.
func readArguments(all []setting, arguments []string) (map[string]string, error) {
	given := map[string]string{}
	for len(arguments) > 0 {
		argument := arguments[0]
		arguments = arguments[1:]
		if argument == "-h" || argument == "--help" {
			return nil, ErrHelp
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
		if !strings.HasPrefix(argument, "--") || name == "" {
			return nil, fmt.Errorf("unexpected argument %s", argument)
		}
		s, negated, err := flagNamed(all, name)
		switch {
		case err != nil:
			return nil, err
		case negated && hasValue:
			return nil, fmt.Errorf("--%s takes no value", name)
		case negated:
			value = "false"
		case s.isBool() && !hasValue:
			value = "true"
		case !hasValue && len(arguments) == 0:
			return nil, fmt.Errorf("--%s: %w", name, errNoValue)
		case !hasValue && strings.HasPrefix(arguments[0], "-"):
			return nil, fmt.Errorf("--%s: %w", name, notValue(arguments[0]))
		case !hasValue:
			value, arguments = arguments[0], arguments[1:]
		}
		given[s.name] = value
	}
	return given, nil
}

func flagNamed(all []setting, name string) (s setting, negated bool, err error) {
	for _, s := range all {
		if s.name == name || s.negatable && "no-"+s.name == name {
			return s, s.name != name, nil
		}
	}
	suggestion := ""
	if i := slices.IndexFunc(all, func(s setting) bool { return strings.HasPrefix(s.name, name) }); i >= 0 {
		suggestion = fmt.Sprintf(", did you mean %q?", "--"+all[i].name)
	}
	return setting{}, false, fmt.Errorf("unknown flag --%s%s", name, suggestion)
}

// usageColumns is how wide Usage writes, and helpColumn where the words about a flag begin.
const (
	usageColumns = 100
	helpColumn   = 33
)

// Usage writes every setting with its default and its variable, never a value.
func Usage(to io.Writer, settings any) error {
	var text strings.Builder
	section := ""
	for _, s := range settingsOf(settings) {
		if s.group != section {
			section = s.group
			text.WriteString("\n" + section + "\n")
		}
		flag := s.usage()
		lines := wrap(s.described(), usageColumns-helpColumn)
		if utf8.RuneCountInString(flag) > helpColumn-2 {
			text.WriteString(flag + "\n")
			flag = ""
		}
		for _, line := range lines {
			fmt.Fprintf(&text, "%-*s%s\n", helpColumn, flag, line)
			flag = ""
		}
	}
	_, err := io.WriteString(to, text.String())
	return err
}

func (s setting) usage() string {
	switch {
	case s.negatable:
		return "  --[no-]" + s.name
	case s.isBool():
		return "  --" + s.name
	case s.placeholder != "":
		return "  --" + s.name + "=" + s.placeholder
	case s.value.Kind() == reflect.String:
		return "  --" + s.name + "=" + strconv.Quote(s.standard)
	default:
		return "  --" + s.name + "=" + s.standard
	}
}

func (s setting) described() string {
	if s.env == "" {
		return s.help
	}
	return fmt.Sprintf("%s ($%s)", s.help, s.env)
}

// wrap breaks a text at blanks. A word that is longer than a line has one of its own.
func wrap(text string, columns int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= columns:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
