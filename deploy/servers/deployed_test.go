package servers_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/goccy/go-yaml"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
)

// The whole from the files of deploy: three NATS servers from nats.conf, Redis from redis.conf, and the worker as the chart starts it.
func TestLineRunsOnTheServersOfDeployAsTheChartStartsIt(t *testing.T) {
	t.Parallel()
	servers, master := cluster(t), startRedis(t)
	startRedis(t, "REDIS_REPLICAOF=127.0.0.1 "+master.port)
	w := &world{nats: servers[0], redis: master, pay: consumertest.Simulator(t)}
	args, env, files := installed(t, "../helm/rendered/production.yaml")
	files["secrets/default"] = w.pay.Secret.Reveal() + "\n"
	files["channels.yaml"] = strings.Replace(files["channels.yaml"], "environment: production", "baseURL: "+w.pay.URL, 1)
	secrets := map[string]string{"linepay-nats url": url(servers[1], "worker"), "linepay-redis url": master.url("worker")}
	worker := start(t, here(t, env, files, secrets), filepath.Join(programs, "linepay-worker"), args...)
	worker.await(t, `"taking commands"`)
	makeReaders(t, w.nats)
	w.playOnce(t, "ORDER-1")
	if code := worker.stop(t); code != 0 {
		t.Errorf("the worker's exit code is %d:\n%s", code, worker.said())
	}
	w.quiet(t, "worker")
}

func TestPaymentWithWhatComposeGives(t *testing.T) {
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
	server, redis, pay := consumertest.NATS(t), consumertest.Redis(t), simulated(t, compose.Services["simulator"].Command)
	worker := compose.Services["worker"]
	local := strings.NewReplacer("nats://nats:4222", server.URL(), "redis://redis:6379/0", redis.URL(), "http://simulator:8081", pay)
	for name, value := range worker.Environment {
		worker.Environment[name] = local.Replace(value)
	}
	start(t, here(t, worker.Environment, nil, nil), filepath.Join(programs, "linepay-worker"), worker.Command...).await(t, `"taking commands"`)

	js := server.JetStream(t)
	publish(t, js, linepay.Request, "request-1", requestWithKey("ORDER-1", "1000"))
	transaction := answer(t, js, "requested").Data.TransactionID
	page, err := http.Post(pay+"/_simulator/payments/"+transaction+"/authenticate", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	page.Body.Close()
	publish(t, js, linepay.Confirm, "confirm-1", order{
		"transactionId": transaction, "orderId": "ORDER-1", "amount": "1000", "currency": "TWD",
	})
	if captured := answer(t, js, "captured"); captured.Data.TransactionID != transaction {
		t.Errorf("captured %+v, want %s", captured.Data, transaction)
	}
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

// simulated starts the simulator with the command of compose.yaml, on a free port of loopback, and gives its address.
func simulated(t *testing.T, command []string) (address string) {
	t.Helper()
	args := slices.Clone(command)
	i := slices.Index(args, "--addr=0.0.0.0:8081")
	if i < 0 {
		t.Fatalf("compose.yaml starts the simulator with %v, and the worker looks for it on port 8081", command)
	}
	port := freePort(t)
	args[i] = "--addr=127.0.0.1:" + port
	start(t, nil, filepath.Join(programs, "linepay-sandbox"), args...).await(t, "Ctrl-C ends it")
	return "http://127.0.0.1:" + port
}

// answer waits for an event of the only order.
func answer(t *testing.T, js jetstream.JetStream, name string) (e event) {
	t.Helper()
	stored := consumertest.Await(t, js, "LINEPAY_EVENTS", "linepay.events.default."+name+".ORDER-1", 1)
	if err := json.Unmarshal(stored[0].Data, &e); err != nil {
		t.Fatal(err)
	}
	return e
}
