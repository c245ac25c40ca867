package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"
)

func untilTheEnd(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestActorsEndTogetherWhenOneReturns(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, row := range map[string]struct {
		first Actor
		want  error
	}{
		"with an error":    {func(context.Context) error { return boom }, boom},
		"without an error": {func(context.Context) error { return nil }, nil},
	} {
		if err := Run(t.Context(), untilTheEnd, row.first, untilTheEnd); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
}

func TestRunWaitsForWhatActorsPutInOrder(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	tidy := false
	err := Run(ctx, func(ctx context.Context) error { cancel(); return nil }, func(ctx context.Context) error {
		<-ctx.Done()
		tidy = true
		return nil
	})
	if err != nil || !tidy {
		t.Errorf("error %v, tidy %t, want no error and all put in order", err, tidy)
	}
}

func TestErrorWhileEndingIsNotLost(t *testing.T) {
	t.Parallel()
	late := errors.New("could not hand back")
	err := Run(t.Context(), func(context.Context) error { return nil }, func(ctx context.Context) error {
		<-ctx.Done()
		return late
	})
	if !errors.Is(err, late) {
		t.Errorf("error %v, want %v", err, late)
	}
}

// Signals go to the whole process, so this test runs alone.
func TestTermAndInterruptEndTheActors(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		err := Run(t.Context(), untilTheEnd, func(ctx context.Context) error {
			if err := syscall.Kill(os.Getpid(), signal); err != nil {
				return err
			}
			return untilTheEnd(ctx)
		})
		if err != nil {
			t.Errorf("%s: %v", signal, err)
		}
	}
}

func TestVersionComesFromTheLinkerOrFromTheBuild(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	for _, row := range []struct {
		version, commit, date string
		info                  *debug.BuildInfo
		want                  string
	}{
		{"v2.0.0", "fedcba9876543210", "2026-02-03", info, "linepay-worker v2.0.0 (fedcba987654, 2026-02-03, "},
		{"", "", "", info, "linepay-worker v1.2.3 (0123456789ab+changes, 2026-01-02T03:04:05Z, "},
		{"", "", "", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "linepay-worker devel (unknown, unknown, "},
	} {
		version, commit, date = row.version, row.commit, row.date
		if got, want := versionLine("linepay-worker", row.info), row.want+runtime.Version()+")"; got != want {
			t.Errorf("version %q, want %q", got, want)
		}
	}
	version, commit, date = "", "", ""
	if got := Version("linepayctl"); !strings.HasPrefix(got, "linepayctl ") {
		t.Errorf("version %q does not begin with the program", got)
	}
}

func TestLogLinesAreJSONWithTimeInUTC(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := NewLogger(LogSettings{Level: "warn", Format: "json"}, &log)
	logger.Info().Msg("not severe enough")
	logger.Warn().Str("channel", "tw").Msg("slow")
	var line struct{ Level, Time, Channel, Message string }
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, log.String())
	}
	if line.Level != "warn" || line.Channel != "tw" || line.Message != "slow" {
		t.Errorf("line %+v", line)
	}
	if at, err := time.Parse(time.RFC3339Nano, line.Time); err != nil || !strings.HasSuffix(line.Time, "Z") || time.Since(at) > time.Minute {
		t.Errorf("time %q, error %v, want now in UTC", line.Time, err)
	}
}

func TestConsoleLinesAreForPeople(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := NewLogger(LogSettings{Level: "debug", Format: "console"}, &log)
	logger.Debug().Str("channel", "tw").Str("odd", "\x1b[2J").Msg("slow")
	text := log.String()
	if strings.HasPrefix(text, "{") || !strings.Contains(text, "slow") || !strings.Contains(text, "channel=tw") || strings.Contains(text, "\x1b") {
		t.Errorf("line %q, want plain text without escape sequences", text)
	}
}
