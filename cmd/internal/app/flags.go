package app

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

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
