// Package deploy_test starts the built programs with what compose.yaml and the chart give them, and pays.
package deploy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/schemas"
)

// programs is the folder with the programs, built once.
var programs string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "linepay-worker-deploy-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	programs = dir
	const commands = "linepay-worker/cmd/"
	output, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), commands+"linepay-worker", commands+"linepay-sandbox").CombinedOutput()
	if err != nil {
		panic(fmt.Sprintf("%v\n%s", err, output))
	}
	return m.Run()
}

func TestPaymentWithWhatComposeGives(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]struct {
			Command     []string
			Environment map[string]string
		}
	}
	parse(t, "compose.yaml", &compose)
	worker := compose.Services["worker"]
	pays(t, compose.Services["simulator"].Command, worker.Environment, worker.Command)
}

func TestPaymentWithWhatTheChartGives(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]struct{ Command []string }
	}
	parse(t, "compose.yaml", &compose)
	args, env, files := installed(t, "helm/rendered/simulator.yaml")
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
		env[name] = strings.ReplaceAll(value, "/etc/linepay", dir)
	}
	pays(t, compose.Services["simulator"].Command, env, args)
}

func parse(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// installed gives the worker's arguments, variables and files of rendered manifests; in the place of Secrets stands the simulator's.
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
							Env  []struct{ Name, Value string }
						}
						Volumes []struct {
							Projected struct {
								Sources []struct {
									Secret struct{ Items []struct{ Path string } }
								}
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
			}
			for _, source := range pod.Volumes[0].Projected.Sources {
				for _, item := range source.Secret.Items {
					files[item.Path] = "0123456789abcdef0123456789abcdef\n"
				}
			}
		}
	}
	return args, env, files
}

// said is what a program has written so far.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// start runs a program with these variables alone until the test ends.
func start(t *testing.T, env []string, name string, args ...string) *said {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	output := &said{}
	command := exec.CommandContext(ctx, filepath.Join(programs, name), args...)
	command.Env, command.Stdout, command.Stderr = append([]string{"PATH=" + os.Getenv("PATH")}, env...), output, output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("%s %v said:\n%s", name, args, output)
		}
	})
	return output
}

// pays requests and confirms a payment with the programs and settings of a deployment. Hosts of its network are here.
func pays(t *testing.T, simulator []string, env map[string]string, args []string) {
	t.Helper()
	server, redis := consumertest.NATS(t), consumertest.Redis(t)
	pay := "http://" + simulated(t, simulator)
	local := strings.NewReplacer(
		"nats://nats:4222", server.URL(), "redis://redis:6379/0", redis.URL(), "http://simulator:8081", pay, "0.0.0.0:8080", "127.0.0.1:0",
	)
	var variables []string
	for name, value := range env {
		if content, err := os.ReadFile(value); err == nil { // a file of the deployment may name hosts, too
			if err := os.WriteFile(value, []byte(local.Replace(string(content))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		variables = append(variables, name+"="+local.Replace(value))
	}
	slices.Sort(variables)
	start(t, variables, "linepay-worker", args...)
	js := server.JetStream(t)
	consumertest.Await(t, js, "LINEPAY_COMMANDS", ">", 0) // which the worker creates
	send(t, js, "request", `"orderId":"ORDER-1","amount":"1000","currency":"TWD",
		"packages":[{"id":"1","amount":"1000","products":[{"name":"Tea","quantity":"1","price":"1000"}]}],
		"redirectUrls":{"confirmUrl":"https://shop.example/paid","cancelUrl":"https://shop.example/cancelled"}`)
	transaction := event(t, js, "requested").Data.TransactionID.String()
	answer, err := http.Post(pay+"/_simulator/payments/"+transaction+"/authenticate", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	send(t, js, "confirm", fmt.Sprintf(`"orderId":"ORDER-1","amount":"1000","currency":"TWD","transactionId":%q`, transaction))
	if captured := event(t, js, "captured"); captured.Data.TransactionID.String() != transaction || captured.Data.Amount.String() != "1000" {
		t.Errorf("captured %+v, want 1000 of %s", captured.Data, transaction)
	}
}

// simulated starts the simulator on a free port, and gives its address.
func simulated(t *testing.T, command []string) (address string) {
	t.Helper()
	args := slices.Clone(command)
	i := slices.Index(args, "--addr=0.0.0.0:8081")
	if i < 0 {
		t.Fatalf("compose.yaml starts the simulator with %v, and the worker looks for it on port 8081", command)
	}
	args[i] = "--addr=127.0.0.1:0"
	output := start(t, nil, "linepay-sandbox", args...)
	consumertest.Eventually(t, func(context.Context) bool {
		lines := bufio.NewScanner(strings.NewReader(output.String()))
		for lines.Scan() {
			if _, rest, found := strings.Cut(lines.Text(), "LINE Pay simulator on http://"); found && strings.Contains(output.String(), "Ctrl-C") {
				address = strings.Fields(rest)[0]
			}
		}
		return address != ""
	})
	if address == "" {
		t.Fatalf("the simulator did not start:\n%s", output)
	}
	return address
}

func send(t *testing.T, js jetstream.JetStream, operation, data string) {
	t.Helper()
	const form = `{"specversion":"1.0","id":"%s-1","source":"/shop","type":"linepay.command.%s.v1","data":{%s}}`
	body := fmt.Sprintf(form, operation, operation, data)
	if _, err := js.Publish(t.Context(), "linepay.commands.default."+operation, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func event(t *testing.T, js jetstream.JetStream, name string) *schemas.Event {
	t.Helper()
	stored := consumertest.Await(t, js, "LINEPAY_EVENTS", "linepay.events.default."+name+".ORDER-1", 1)
	e, err := schemas.DecodeEvent(stored[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
