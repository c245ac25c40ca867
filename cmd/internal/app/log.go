package app

import (
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// LogSettings say how much is logged, and for whom.
type LogSettings struct {
	Level  string `name:"log-level" env:"LOG_LEVEL" default:"info" help:"Least severe log lines to write (debug, info, warn, error)."`
	Format string `name:"log-format" env:"LOG_FORMAT" default:"json" help:"Form of log lines (json, or console for people)."`
}

var logLevels = map[string]zerolog.Level{
	"debug": zerolog.DebugLevel, "info": zerolog.InfoLevel, "warn": zerolog.WarnLevel, "error": zerolog.ErrorLevel,
}

// Validate checks both words.
func (s LogSettings) Validate() error {
	var p problems
	_, known := logLevels[s.Level]
	p.require(known, "LOG_LEVEL", s.Level, "must be debug, info, warn or error")
	p.require(s.Format == "json" || s.Format == "console", "LOG_FORMAT", s.Format, "must be json or console")
	return p.error()
}

// zerolog keeps its time format and clock for the whole process, so they are set once, before any logger exists.
func init() {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
}

// NewLogger writes to w, which is standard error in the programs: standard output is for what was asked for. Times are UTC, RFC 3339 with
// nanoseconds.
func NewLogger(s LogSettings, w io.Writer) zerolog.Logger {
	if s.Format == "console" {
		w = zerolog.ConsoleWriter{Out: w, NoColor: !isTerminal(w), TimeFormat: time.RFC3339, TimeLocation: time.UTC}
	}
	return zerolog.New(w).Level(logLevels[s.Level]).With().Timestamp().Logger()
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
