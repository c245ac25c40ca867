package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
)

// on is the environment of a worker with Redis elsewhere.
func (s *servers) on(redisURL string) []string {
	return append(slices.DeleteFunc(s.env(), func(v string) bool { return strings.HasPrefix(v, "REDIS_URL=") }), "REDIS_URL="+redisURL)
}

// confirm has a payment confirmed, and waits for its event.
func (s *servers) confirm(t *testing.T, order string) (id linepay.TransactionID) {
	t.Helper()
	id = s.pay.Paid(t, order, "100", "TWD", true)
	s.send(t, linepay.Confirm, "c-"+order, confirmOf(id, order))
	s.event(t, "linepay.events.default.captured."+order)
	return id
}

func confirmOf(id linepay.TransactionID, order string) map[string]any {
	return map[string]any{"transactionId": id, "orderId": order, "amount": "100", "currency": "TWD"}
}

// wantOnce checks that each payment has had one effect, and that who commands it again is told so.
func (s *servers) wantOnce(t *testing.T, payments map[string]linepay.TransactionID) {
	t.Helper()
	for order, id := range payments {
		s.send(t, linepay.Confirm, "again-"+order, confirmOf(id, order))
		s.event(t, "linepay.events.default.duplicate."+order)
	}
	for _, transaction := range s.pay.Sim.Ledger().Transactions {
		if len(transaction.Effects) != 1 {
			t.Errorf("order %s has %d effects, want 1", transaction.OrderID, len(transaction.Effects))
		}
	}
}

func TestWorkerFollowsSentinelToTheNewMasterAndDoublesNothing(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	host, port, _ := strings.Cut(s.redis.Host(), ":")
	replica := consumertest.Redis(t, "--replicaof", host+" "+port)
	sentinel := consumertest.Sentinel(t, "linepay", s.redis)
	knows := consumertest.Eventually(t, func(ctx context.Context) bool {
		info := sentinel.Client(t).Info(ctx, "sentinel").Val()
		return strings.Contains(info, "slaves=1") && strings.Contains(replica.Client(t).Info(ctx, "replication").Val(), "master_link_status:up")
	})
	if !knows {
		t.Fatal("Sentinel does not find the replica")
	}
	worker := start(t, s.on("redis+sentinel://"+sentinel.Host()+"/0?master=linepay"))
	ready(t, worker)
	before := s.confirm(t, "BEFORE")
	s.redis.Kill()
	after := s.confirm(t, "AFTER") // waits for the replica to have become the master
	s.wantOnce(t, map[string]linepay.TransactionID{"BEFORE": before, "AFTER": after})
	if code := worker.stop(t); code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", code, worker.said())
	}
}

func TestWorkerOnAClusterGoesOnWhenANodeComesBack(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	nodes := consumertest.Cluster(t, 3)
	worker := start(t, s.on("redis+cluster://"+nodes[0].Host()+","+nodes[1].Host()))
	ready(t, worker)
	payments := map[string]linepay.TransactionID{}
	const each = 12 // enough to meet every node
	for i := range each {
		order := fmt.Sprintf("BEFORE-%d", i)
		payments[order] = s.confirm(t, order)
	}
	nodes[2].Kill()
	for i := range each {
		order := fmt.Sprintf("MEANWHILE-%d", i)
		payments[order] = s.pay.Paid(t, order, "100", "TWD", true)
		s.send(t, linepay.Confirm, "c-"+order, confirmOf(payments[order], order))
	}
	nodes[2].Start()
	for order := range payments {
		s.event(t, "linepay.events.default.captured."+order)
	}
	s.wantOnce(t, payments)
	for _, node := range nodes {
		if n := node.Client(t).DBSize(t.Context()).Val(); n == 0 {
			t.Error("a node has not been used")
		}
	}
}

// What deploy/SCALING.md says of Redis' memory.
func TestRecordIsAsLargeAsTheScalingPageSays(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	worker := start(t, s.env())
	ready(t, worker)
	id := s.confirm(t, "ORDER")
	const operations = 4 // the confirm, and three refunds
	for i := range operations - 1 {
		s.send(t, linepay.Refund, fmt.Sprintf("r-%d", i), map[string]any{
			"transactionId": id, "orderId": "ORDER", "refundAmount": "10", "refundId": fmt.Sprintf("R-%d", i),
		})
		consumertest.Await(t, s.js, "LINEPAY_EVENTS", "linepay.events.default.refunded.ORDER", i+1)
	}
	client := s.redis.Client(t)
	keys, err := client.Keys(t.Context(), "*:transaction:*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("records %v, error %v", keys, err)
	}
	size, err := client.MemoryUsage(t.Context(), keys[0], 0).Result()
	if each := size / operations; err != nil || each < 1200 || each > 2400 {
		t.Errorf("an operation takes %d bytes of Redis (error %v), want about 1.8 KiB", each, err)
	}
}
