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

	"github.com/alecthomas/kong"
)

// Parser reads flags and environment into cli, a pointer to a struct with embedded groups of settings and commands. A flag wins over its
// variable; a variable that is set but empty counts as not set, as compose files and charts leave them.
func Parser(program, description string, cli any, options ...kong.Option) (*kong.Kong, error) {
	k, err := kong.New(cli, append([]kong.Option{
		kong.Name(program),
		kong.Description(description),
		kong.ValueFormatter(formatHelp),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 120}),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(readDuration)),
		kong.KindMapper(reflect.Int, kong.MapperFunc(readInt)),
		kong.KindMapper(reflect.String, kong.MapperFunc(readString)),
	}, options...)...)
	if err != nil {
		return nil, err
	}
	return k, eachFlag(k, func(flag *kong.Flag) {
		// The list that is read is cut; flag.Envs, which --help shows, stays whole.
		flag.Tag.Envs = slices.DeleteFunc(slices.Clone(flag.Tag.Envs), func(name string) bool {
			value, set := os.LookupEnv(name)
			return set && value == ""
		})
	})
}

// The three below read values as kong does, and say what is wrong in the words of the other rules.

func readDuration(ctx *kong.DecodeContext, target reflect.Value) error {
	text, err := valueOf(ctx)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return notDuration(text)
	}
	target.SetInt(int64(d))
	return nil
}

func readInt(ctx *kong.DecodeContext, target reflect.Value) error {
	text, err := valueOf(ctx)
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(text, 10, target.Type().Bits())
	if err != nil {
		return notWhole(text)
	}
	target.SetInt(n)
	return nil
}

func readString(ctx *kong.DecodeContext, target reflect.Value) error {
	text, err := valueOf(ctx)
	if err == nil {
		target.SetString(text)
	}
	return err
}

// valueOf takes the value of a flag or variable from the command line.
func valueOf(ctx *kong.DecodeContext) (string, error) {
	token := ctx.Scan.Pop()
	switch {
	case token.IsValue():
		return fmt.Sprint(token.Value), nil
	case token.IsEOL():
		return "", errNoValue
	default:
		return "", notValue(token.String())
	}
}

var errNoValue = errors.New("needs a value")

func notDuration(text string) error {
	return fmt.Errorf("must be a duration such as 20s, 5m or 1h30m, not %q", text)
}

func notWhole(text string) error { return fmt.Errorf("must be a whole number, not %q", text) }

func notValue(flag string) error {
	return fmt.Errorf("needs a value, and %q is a flag; a value that begins with - is written with =", flag)
}

func eachFlag(k *kong.Kong, do func(*kong.Flag)) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			do(flag)
		}
		return next(nil)
	})
}

// formatHelp appends the names of the variables, never their values.
func formatHelp(value *kong.Value) string {
	if value.Flag == nil || len(value.Flag.Envs) == 0 {
		return value.Help
	}
	return fmt.Sprintf("%s ($%s)", value.Help, strings.Join(value.Flag.Envs, ", $"))
}

// settings is every group, in the order of the documentation.
type settings struct {
	NATS     NATSSettings    `embed:""`
	Redis    RedisSettings   `embed:""`
	Channels ChannelSettings `embed:""`
	Reload   ReloadSettings  `embed:""`
	Worker   WorkerSettings  `embed:""`
	Streams  StreamSettings  `embed:""`
	Admin    AdminSettings   `embed:""`
	Log      LogSettings     `embed:""`
}

// SettingsTable is the table of all settings for the documentation, in Markdown: variable, flag, default, meaning.
func SettingsTable() string {
	k, err := Parser("settings", "", &settings{}, kong.Writers(io.Discard, io.Discard))
	if err != nil {
		panic(err) // the struct tags above are wrong, which every test of this package would meet
	}
	var table strings.Builder
	table.WriteString("| variable | flag | default | meaning |\n|---|---|---|---|\n")
	_ = eachFlag(k, func(flag *kong.Flag) {
		if flag.Name != "help" {
			fmt.Fprintf(&table, "| %s | `--%s` | %s | %s |\n", code(strings.Join(flag.Envs, "`, `")), flag.Name, code(flag.Default),
				strings.ReplaceAll(flag.Help, "|", `\|`))
		}
	})
	return table.String()
}

func code(text string) string {
	if text == "" {
		return "–"
	}
	return "`" + text + "`"
}
