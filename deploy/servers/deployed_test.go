package servers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"linepay-worker/consumer/consumertest"
)

// The whole from the files of deploy: three NATS servers from nats.conf, Redis from redis.conf with a replica, and as many workers as the
// chart starts, the way it starts them. What is played is the sandbox's scenario, twice side by side.
func TestScenarioPassesOnTheServersOfDeployAsTheChartStartsIt(t *testing.T) {
	t.Parallel()
	servers, master := cluster(t), startRedis(t)
	startRedis(t, "REDIS_REPLICAOF=127.0.0.1 "+master.port)
	const secret = "fedcba9876543210fedcba9876543210"
	pay := simulated(t, "--channel=1650000001:"+secret, "--public-url=https://pay.example")
	args, env, files := installed(t, "../helm/rendered/production.yaml")
	files["secrets/default"] = secret + "\n"
	files["channels.yaml"] = strings.Replace(files["channels.yaml"], "environment: production", "baseURL: "+pay, 1)
	secrets := map[string]string{"linepay-nats url": url(servers[1], "worker"), "linepay-redis url": master.url("worker")}
	var workers []*process
	for range 2 { // minReplicaCount
		worker := start(t, here(t, env, files, secrets), filepath.Join(programs, "linepay-worker"), args...)
		worker.await(t, `"taking commands"`)
		workers = append(workers, worker)
	}
	w := &world{nats: servers[0]}
	for _, played := range []*process{w.scenario(t, "operator", pay), w.scenario(t, "operator", pay)} {
		agrees(t, played)
	}
	for _, worker := range workers {
		if code := worker.stop(t); code != 0 {
			t.Errorf("the worker's exit code is %d:\n%s", code, worker.said())
		}
	}
	for _, s := range servers {
		(&world{nats: s}).quiet(t, "worker", "operator")
	}
}

// scenario plays that of the sandbox, as somebody.
func (w *world) scenario(t *testing.T, role, pay string, flags ...string) *process {
	t.Helper()
	return start(t, []string{"NATS_URL=" + url(w.nats, role), "NATS_INBOX_PREFIX=_INBOX." + role},
		filepath.Join(programs, "linepay-sandbox"), append([]string{"scenario", "--simulator-url", pay}, flags...)...)
}

// agrees waits for the end of a scenario, which has to be a good one.
func agrees(t *testing.T, played *process) {
	t.Helper()
	<-played.ended
	if code := played.command.ProcessState.ExitCode(); code != 0 || !strings.Contains(played.said(), "The events and LINE Pay's ledger agree.") {
		t.Errorf("the scenario's exit code is %d:\n%s", code, played.said())
	}
}

// What somebody may not do is not answered by NATS; the scenario says so all the same, and soon.
func TestScenarioSaysThatItsAccountLacksRights(t *testing.T) {
	t.Parallel()
	w := startWorld(t, strings.NewReplacer())
	w.startWorker(t)
	lacking := map[string]string{
		"reader": "linepay.commands.default.request", "checkout": "$JS.API.CONSUMER.INFO.LINEPAY_COMMANDS.linepay-worker-default",
	}
	plays := map[string]*process{}
	for role := range lacking {
		plays[role] = w.scenario(t, role, w.pay.URL)
	}
	for role, subject := range lacking {
		played := plays[role]
		<-played.ended
		code, said := played.command.ProcessState.ExitCode(), played.said()
		if code != 1 || !strings.Contains(said, "NATS does not allow this account all that the scenario needs") || !strings.Contains(said, `"`+subject+`"`) {
			t.Errorf("%s plays the scenario: exit code %d, want 1 and that it may not publish to %s:\n%s", role, code, subject, said)
		}
	}
	if stored := consumertest.Collect(t, jetStream(t, w.nats, "operator"), "LINEPAY_EVENTS", "linepay.events.>"); len(stored) > 0 {
		t.Errorf("%d events", len(stored))
	}
}

// The dead letter that a run leaves is dropped as it says.
func TestDeadLetterOfAScenarioIsDroppedAsItSays(t *testing.T) {
	t.Parallel()
	w := startWorld(t, strings.NewReplacer())
	w.startWorker(t)
	played := w.scenario(t, "operator", w.pay.URL)
	agrees(t, played)
	_, drop, found := strings.Cut(played.said(), "\n  linepayctl ")
	if !found {
		t.Fatalf("no command that drops it in:\n%s", played.said())
	}
	if said, code := w.ctl(t, "operator", "operator", strings.Fields(drop)...); code != 0 {
		t.Errorf("linepayctl %s: exit code %d:\n%s", drop, code, said)
	}
	if left := consumertest.Collect(t, jetStream(t, w.nats, "operator"), "LINEPAY_DEADLETTERS", "linepay.deadletters.>"); len(left) > 0 {
		t.Errorf("%d dead letters are left", len(left))
	}
}

func TestScenarioPassesWithWhatComposeGives(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]struct {
			Command     []string
			Environment map[string]string
		}
	}
	text, err := os.ReadFile("../compose.yaml")
	if err == nil {
		err = yaml.Unmarshal(text, &compose)
	}
	if err != nil {
		t.Fatalf("compose.yaml: %v", err)
	}
	given := compose.Services["simulator"].Command
	if len(given) < 3 || given[0] != "simulator" || given[1] != "--addr=0.0.0.0:8081" {
		t.Fatalf("compose.yaml starts the simulator with %v, and the worker looks for it on port 8081", given)
	}
	server, redis, pay := consumertest.NATS(t), consumertest.Redis(t), simulated(t, given[2:]...)
	worker, scenario := compose.Services["worker"], compose.Services["scenario"]
	local := strings.NewReplacer("nats://nats:4222", server.URL(), "redis://redis:6379/0", redis.URL(), "http://simulator:8081", pay)
	for name, value := range worker.Environment {
		worker.Environment[name] = local.Replace(value)
	}
	for i, argument := range scenario.Command {
		scenario.Command[i] = local.Replace(argument)
	}
	start(t, here(t, worker.Environment, nil, nil), filepath.Join(programs, "linepay-worker"), worker.Command...).await(t, `"taking commands"`)
	agrees(t, start(t, nil, filepath.Join(programs, "linepay-sandbox"), scenario.Command...))
}

// here gives variables of a deployment to a program on this machine: with its files in a folder, its secrets in their places, and the admin
// server on a free port of loopback.
func here(t *testing.T, env, files, secrets map[string]string) (variables []string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range env {
		if secret, is := secrets[value]; is {
			value = secret
		}
		value = strings.NewReplacer("/etc/linepay", dir, "0.0.0.0:8080", "127.0.0.1:0").Replace(value)
		variables = append(variables, name+"="+value)
	}
	return variables
}

// installed gives the worker's arguments, variables and files of rendered manifests. A variable from a Secret is its name and key; files
// from Secrets are not there.
func installed(t *testing.T, file string) (args []string, env, files map[string]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	env, files = map[string]string{}, map[string]string{}
	for document := range strings.SplitSeq(string(text), "---\n") {
		var object struct {
			Kind string
			Data map[string]string
			Spec struct {
				Template struct {
					Spec struct {
						Containers []struct {
							Args []string
							Env  []struct {
								Name, Value string
								ValueFrom   struct {
									SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
								} `yaml:"valueFrom"`
							}
						}
					}
				}
			}
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		switch object.Kind {
		case "ConfigMap":
			files["channels.yaml"] = object.Data["channels.yaml"]
		case "Deployment":
			pod := object.Spec.Template.Spec
			args = pod.Containers[0].Args
			for _, variable := range pod.Containers[0].Env {
				env[variable.Name] = variable.Value
				if secret := variable.ValueFrom.SecretKeyRef; secret.Name != "" {
					env[variable.Name] = secret.Name + " " + secret.Key
				}
			}
		}
	}
	return args, env, files
}

// simulated starts the simulator on a free port of loopback, and gives its address.
func simulated(t *testing.T, args ...string) (address string) {
	t.Helper()
	port := freePort(t)
	args = append([]string{"simulator", "--addr=127.0.0.1:" + port}, args...)
	start(t, nil, filepath.Join(programs, "linepay-sandbox"), args...).await(t, "Ctrl-C ends it")
	return "http://127.0.0.1:" + port
}
