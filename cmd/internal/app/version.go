package app

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by the linker: -X linepay-worker/cmd/internal/app.version=v1.2.3, and so on.
var version, commit, date string

// Version is one line such as "linepay-worker v1.2.3 (0123456789ab, 2026-01-02T03:04:05Z, go1.26.0)". What the linker was not told comes
// from the build information that Go itself records; what that lacks is "unknown".
func Version(program string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionLine(program, info)
}

func versionLine(program string, info *debug.BuildInfo) string {
	recorded := map[string]string{}
	for _, setting := range info.Settings {
		recorded[setting.Key] = setting.Value
	}
	built := info.Main.Version
	if built == "(devel)" {
		built = ""
	}
	revision := cmp.Or(commit, recorded["vcs.revision"], "unknown")
	if len(revision) > 12 {
		revision = revision[:12]
	}
	if commit == "" && recorded["vcs.modified"] == "true" {
		revision += "+changes"
	}
	return fmt.Sprintf("%s %s (%s, %s, %s)", program, cmp.Or(version, built, "devel"), revision,
		cmp.Or(date, recorded["vcs.time"], "unknown"), runtime.Version())
}
