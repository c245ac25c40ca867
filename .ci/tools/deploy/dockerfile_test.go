package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// stagesOf reads a Dockerfile as Docker does, with all of Docker's own checks.
func stagesOf(t *testing.T) []instructions.Stage {
	t.Helper()
	file, err := os.Open(root + "/deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tree, err := parser.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	checks := linter.New(&linter.Config{Warn: func(rule, _, _, message string, place []parser.Range) {
		t.Errorf("Dockerfile:%d: %s: %s", place[0].Start.Line, rule, message)
	}})
	stages, _, err := instructions.Parse(tree.AST, checks)
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range tree.Warnings {
		t.Errorf("Dockerfile: %s", warning.Short)
	}
	return stages
}

// lineage is a stage with the stages that it comes from, the first one first.
func lineage(stages []instructions.Stage, name string) (line []instructions.Stage) {
	for {
		i := slices.IndexFunc(stages, func(s instructions.Stage) bool { return s.Name == name })
		if i < 0 {
			return line
		}
		line = append([]instructions.Stage{stages[i]}, line...)
		name = stages[i].BaseName
	}
}

func TestImagesHaveAProgramAndNothingElse(t *testing.T) {
	t.Parallel()
	stages := stagesOf(t)
	if last := stages[len(stages)-1].Name; last != "worker" {
		t.Errorf("a build without --target makes %q, want the worker", last)
	}
	for name, programs := range map[string][]string{"worker": {"linepay-worker", "linepayctl"}, "sandbox": {"linepay-sandbox"}} {
		line := lineage(stages, name)
		if len(line) == 0 || line[0].BaseName != "scratch" {
			t.Fatalf("%s does not come from scratch", name)
		}
		var copied []string
		var user string
		var entrypoint, health []string
		for _, stage := range line {
			for _, command := range stage.Commands {
				switch command := command.(type) {
				case *instructions.RunCommand:
					t.Errorf("%s runs %v, and has no shell", name, command.CmdLine)
				case *instructions.CopyCommand:
					if len(lineage(stages, command.From)) == 0 {
						t.Errorf("%s copies from %q, which is no stage", name, command.From)
					}
					copied = append(copied, command.SourcePaths...)
				case *instructions.UserCommand:
					user = command.User
				case *instructions.EntrypointCommand:
					if command.PrependShell {
						t.Errorf("%s is started by a shell, and has none", name)
					}
					entrypoint = command.CmdLine
				case *instructions.HealthCheckCommand:
					health = command.Health.Test
				}
			}
		}
		want := []string{"/etc/ssl/certs/ca-certificates.crt"}
		for _, program := range programs {
			want = append(want, "/src/bin/"+program)
		}
		if !slices.Equal(copied, want) {
			t.Errorf("%s has %v, want %v", name, copied, want)
		}
		if id, err := strconv.Atoi(strings.Split(user, ":")[0]); err != nil || id == 0 {
			t.Errorf("%s runs as user %q, want the number of one that is not root", name, user)
		}
		if want := []string{"/usr/local/bin/" + programs[0]}; !slices.Equal(entrypoint, want) {
			t.Errorf("%s starts %v, want %v", name, entrypoint, want)
		}
		if want := []string{"CMD", "/usr/local/bin/linepay-worker", "healthz"}; name == "worker" && !slices.Equal(health, want) {
			t.Errorf("the worker's health check is %v, want %v", health, want)
		}
	}
}

func TestImagesAreBuiltWithTheGoOfTheModule(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(root + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\ngo ")
	parts := strings.Split(strings.Fields(rest)[0], ".")
	if base, want := stagesOf(t)[0].BaseName, "golang:"+strings.Join(parts[:2], "."); base != want {
		t.Errorf("the build stage is from %s, want %s", base, want)
	}
	for _, command := range stagesOf(t)[0].Commands {
		copied, is := command.(*instructions.CopyCommand)
		if !is {
			continue
		}
		for _, source := range copied.SourcePaths {
			if _, err := os.Stat(filepath.Join(root, source)); err != nil {
				t.Errorf("COPY %s: %v", source, err)
			}
		}
	}
}
