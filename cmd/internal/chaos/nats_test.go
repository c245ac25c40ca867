package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const nodes = 3

// cluster is three nats-servers with JetStream. Each pair of them is joined by links of the test.
type cluster struct {
	nodes  [nodes]*node
	routes []*link
	turn   sync.Mutex // one node at a time is in trouble: two make no quorum, and nothing would happen meanwhile
}

type node struct {
	*process
	client, monitor string // addresses
}

func startCluster(t *testing.T, dir string, d *dice) *cluster {
	t.Helper()
	c := &cluster{}
	var listen [nodes]string
	for i := range nodes {
		listen[i] = "127.0.0.1:" + freePort(t, d)
	}
	nowhere := "127.0.0.1:" + freePort(t, d) // what the nodes tell each other, so that they do not go round the links
	for i := range nodes {
		n := &node{client: "127.0.0.1:" + freePort(t, d), monitor: "127.0.0.1:" + freePort(t, d)}
		var routes []string
		for j := range nodes {
			if j == i {
				continue
			}
			route := newLink(t, "nats-nats", listen[j])
			c.routes = append(c.routes, route)
			routes = append(routes, "nats://"+route.addr())
		}
		name := fmt.Sprintf("nats%d", i+1)
		config := filepath.Join(dir, name+".conf")
		content := fmt.Sprintf("server_name: %s\nlisten: %q\nhttp: %q\njetstream { store_dir: %q }\n"+
			"cluster { name: chaos, listen: %q, advertise: %q, no_advertise: true, routes: [%s] }\n",
			name, n.client, n.monitor, filepath.Join(dir, name), listen[i], nowhere, strings.Join(routes, ", "))
		if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		n.process = &process{name: name, program: built.nats, args: []string{"-c", config}, log: filepath.Join(dir, name+".log")}
		c.nodes[i] = n
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.kill)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, n := range c.nodes {
		if !n.awaitHealth(ctx) {
			t.Fatalf("%s is not healthy after %s; its log is %s", n.name, patience, n.log)
		}
	}
	if !until(ctx, func() bool { return slices.ContainsFunc(c.nodes[:], func(n *node) bool { return n.leadsAll(ctx) }) }) {
		t.Fatalf("no node leads all others after %s; the logs are in %s", patience, dir)
	}
	return c
}

// leadsAll says that a node is the leader, and knows that all others are there: before that it refuses a stream that is to be on all of them
// ("no suitable peers for placement, peer offline"), although each one says that it is healthy.
func (n *node) leadsAll(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.monitor+"/jsz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	var known struct {
		Meta struct {
			Leader   string
			Replicas []struct{ Current, Offline bool }
		} `json:"meta_cluster"`
	}
	if err := json.NewDecoder(response.Body).Decode(&known); err != nil || known.Meta.Leader != n.name || len(known.Meta.Replicas) < nodes-1 {
		pause(ctx, 20*time.Millisecond)
		return false
	}
	for _, other := range known.Meta.Replicas {
		if other.Offline || !other.Current {
			return false
		}
	}
	return true
}

// awaitHealth waits until the node has caught up with the others.
func (n *node) awaitHealth(ctx context.Context) bool {
	client := &http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	return until(ctx, func() bool {
		response, err := client.Get("http://" + n.monitor + "/healthz")
		if err == nil {
			_ = response.Body.Close()
		}
		healthy := err == nil && response.StatusCode == http.StatusOK
		if !healthy {
			pause(ctx, 100*time.Millisecond) // it logs every question
		}
		return healthy
	})
}

// connect goes to the nodes directly: the test itself wants to know what is in the streams, not to lose its own connection.
func (c *cluster) connect(t *testing.T) jetstream.JetStream {
	t.Helper()
	var servers []string
	for _, n := range c.nodes {
		servers = append(servers, "nats://"+n.client)
	}
	conn, err := nats.Connect(strings.Join(servers, ","), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.ReconnectBufSize(-1), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2),
		nats.IgnoreDiscoveredServers())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
