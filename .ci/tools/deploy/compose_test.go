package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// project reads compose.yaml as Compose does, with all profiles and one thing set that has no default.
func project(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{root + "/deploy/compose.yaml"},
		cli.WithProfiles(profiles), cli.WithEnv([]string{"LINEPAY_CHANNEL_ID=1650000001"}))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func TestEachProfileHasAWorkerWithAllItNeeds(t *testing.T) {
	t.Parallel()
	for profile, want := range map[string][]string{
		"simulator": {"nats", "redis", "simulator", "worker"},
		"linepay":   {"nats", "redis", "worker-linepay"},
	} {
		if names := project(t, profile).ServiceNames(); !slices.Equal(names, want) {
			t.Errorf("profile %s starts %v, want %v", profile, names, want)
		}
	}
}

// What plays the scenario ends, and stays ended. It brings up what it plays on.
func TestScenarioIsPlayedOnceOnTheSimulatorsProfile(t *testing.T) {
	t.Parallel()
	services := project(t, "simulator", "scenario").Services
	scenario := services["scenario"]
	if scenario.Restart != "no" || scenario.Image != services["simulator"].Image || scenario.Build.Target != services["simulator"].Build.Target {
		t.Errorf("restart %q of %s, target %s", scenario.Restart, scenario.Image, scenario.Build.Target)
	}
	if needs := scenario.DependsOn; needs["simulator"].Condition == "" || needs["worker"].Condition != types.ServiceConditionHealthy {
		t.Errorf("it waits for %v", needs)
	}
	if len(scenario.Ports)+len(scenario.Volumes) > 0 {
		t.Errorf("it has ports %v and volumes %v", scenario.Ports, scenario.Volumes)
	}
}

func TestContainersAreHardenedAndOpenToThisMachineAlone(t *testing.T) {
	t.Parallel()
	for name, service := range project(t, "*").Services {
		sealed := slices.Equal(service.CapDrop, []string{"ALL"}) && slices.Contains(service.SecurityOpt, "no-new-privileges:true")
		if !service.ReadOnly || !sealed {
			t.Errorf("%s may write to its image, or has capabilities, or may get some", name)
		}
		if service.User == "root" || service.Privileged {
			t.Errorf("%s is privileged", name)
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to other machines", name, port.Published)
			}
		}
	}
}

// setting is a variable that linepay-worker reads, as --help shows it.
func setting(t *testing.T, name string) bool {
	t.Helper()
	_, help := program(t, nil, "linepay-worker", "--help")
	return strings.Contains(help, "($"+name+")")
}

// accepts holds that the worker takes these settings: it goes on to look for Redis, where there is none.
func accepts(t *testing.T, env map[string]string, args ...string) {
	t.Helper()
	var list []string
	for name, value := range env {
		if !setting(t, name) && !strings.HasPrefix(name, "OTEL_") { // which OpenTelemetry reads
			t.Errorf("%s is not a setting of linepay-worker", name)
		}
		switch {
		case name == "REDIS_URL":
			if value = "redis://127.0.0.1:1/0"; env["REDIS_CA"] != "" {
				value = "rediss://127.0.0.1:1/0"
			}
		case name == "OTEL_EXPORTER_OTLP_HEADERS":
			value = "authorization=Bearer%20token"
		case strings.HasPrefix(value, "secret "):
			value = "nats://worker:password@nats:4222"
		case strings.HasSuffix(name, "_FILE"):
			value = filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(value, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		list = append(list, name+"="+value)
	}
	code, said := program(t, list, "linepay-worker", args...)
	if code != 1 || !strings.Contains(said, "no answer from Redis") {
		t.Errorf("linepay-worker %v with %v does not get as far as Redis (exit code %d):\n%s", args, list, code, said)
	}
}

func TestComposeGivesSettingsThatTheWorkerTakes(t *testing.T) {
	t.Parallel()
	count := 0
	for name, service := range project(t, "*").Services {
		if service.Image != "linepay-worker" {
			continue
		}
		count++
		env := map[string]string{}
		for variable, value := range service.Environment {
			if value == nil {
				t.Fatalf("%s: %s has no value", name, variable)
			}
			env[variable] = *value
		}
		accepts(t, env, service.Command...)
		if env["ADMIN_ADDR"] != "0.0.0.0:8080" || service.Ports[0].Target != 8080 {
			t.Errorf("%s: port %d is published, and ADMIN_ADDR is %s", name, service.Ports[0].Target, env["ADMIN_ADDR"])
		}
		if grace := time.Duration(*service.StopGracePeriod); grace < shutdownGrace(t)+5*time.Second {
			t.Errorf("%s is killed after %s, and finishes its calls within %s", name, grace, shutdownGrace(t))
		}
		if service.Build.Dockerfile != "deploy/Dockerfile" || len(lineage(stagesOf(t), service.Build.Target)) == 0 {
			t.Errorf("%s is built from %s, target %s", name, service.Build.Dockerfile, service.Build.Target)
		}
	}
	if count != 2 {
		t.Errorf("%d workers, want one for each profile", count)
	}
}

// shutdownGrace is the worker's default.
func shutdownGrace(t *testing.T) time.Duration {
	t.Helper()
	_, help := program(t, nil, "linepay-worker", "--help")
	_, rest, found := strings.Cut(help, "--shutdown-grace=")
	if !found {
		t.Fatalf("--help names no grace:\n%s", help)
	}
	grace, err := time.ParseDuration(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return grace
}
