package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer/pull"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// strict is a LINE Pay that knows some orders, and by its own rules answers fewer questions than the simulator.
func strict(t *testing.T, known map[string]linepay.TransactionID, refuse func(ids []string) (code string)) *merchant {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		orders, ids := r.URL.Query()["orderId"], r.URL.Query()["transactionId"]
		if code := refuse(slices.Concat(orders, ids)); code != "" {
			fmt.Fprintf(w, `{"returnCode":%q,"returnMessage":"-"}`, code)
			return
		}
		var found []string
		for order, id := range known {
			if slices.Contains(orders, order) || slices.Contains(ids, id.String()) {
				found = append(found, fmt.Sprintf(`{"transactionId":%s,"orderId":%q,"payStatus":"CAPTURE"}`, id, order))
			}
		}
		if len(found) == 0 {
			fmt.Fprint(w, `{"returnCode":"1150","returnMessage":"-"}`)
			return
		}
		fmt.Fprintf(w, `{"returnCode":"0000","returnMessage":"OK","info":[%s]}`, strings.Join(found, ","))
	}))
	t.Cleanup(server.Close)
	client, err := linepay.New(linepay.Config{BaseURL: server.URL, ChannelID: "1234567890", Secret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	return &merchant{Channel: app.Channel{Name: "tw"}, client: client}
}

// booksOf are the books of orders whose events tell of one payment each.
func booksOf(orders map[string]linepay.TransactionID) (list []*books) {
	for _, order := range sortedKeys(orders) {
		b := newBooks()
		b.order, b.looked = order, false
		b.tell(schemas.EventCaptured, linepay.Confirm, "confirm:"+order, "10", func(d *schemas.EventData) { d.TransactionID = orders[order] })
		list = append(list, b)
	}
	return list
}

func TestQuestionsAreHalvedUntilLINEPayAnswersThem(t *testing.T) {
	t.Parallel()
	orders := map[string]linepay.TransactionID{"A": 1, "B": 2, "C": 3, "D": 4, "E": 5}
	for name, row := range map[string]struct {
		known  map[string]linepay.TransactionID
		refuse func(ids []string) string
		want   []linepay.TransactionID
	}{
		"the answer would be too long": {orders, func(ids []string) string {
			if len(ids) > 2 {
				return tooMany
			}
			return ""
		}, []linepay.TransactionID{1, 2, 3, 4, 5}},
		"one unknown order hides the others": {map[string]linepay.TransactionID{"A": 1, "B": 2, "D": 4, "E": 5}, func(ids []string) string {
			if slices.Contains(ids, "C") || slices.Contains(ids, "3") {
				return notFound
			}
			return ""
		}, []linepay.TransactionID{1, 2, 0, 4, 5}},
		"the payments are those of other orders": {
			map[string]linepay.TransactionID{"X": 1, "Y": 5},
			func([]string) string { return "" },
			[]linepay.TransactionID{1, 0, 0, 0, 5},
		},
		"nothing is known": {nil, func([]string) string { return "" }, make([]linepay.TransactionID, 5)},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			list := booksOf(orders)
			if err := (&look{}).payments(t.Context(), strict(t, row.known, row.refuse), list); err != nil {
				t.Fatal(err)
			}
			var got []linepay.TransactionID
			for _, b := range list {
				id := linepay.TransactionID(0)
				if len(b.payments) == 1 {
					id = b.payments[0].TransactionID
				}
				got = append(got, id)
				if !b.looked || b.asked.IsZero() || len(b.payments) > 1 {
					t.Errorf("books of %s: %+v, want that LINE Pay was asked, and one payment at most", b.order, b)
				}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("payments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPassingFaultsAreAskedAboutAgainAndRefusalsAreNot(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]int32{"1999": tries, "9000": tries, "1106": 1, "2101": 1} {
		var calls atomic.Int32
		list := booksOf(map[string]linepay.TransactionID{"A": 1})
		err := (&look{}).payments(t.Context(), strict(t, nil, func([]string) string { calls.Add(1); return code }), list)
		if err == nil || !refusedAs(err, code) || calls.Load() != want || list[0].looked {
			t.Errorf("code %s: error %v after %d calls, looked %t; want %d calls, and that nobody looked", code, err, calls.Load(), list[0].looked, want)
		}
	}
}

func TestWalkFindsEveryCommandOnceAcrossGaps(t *testing.T) {
	t.Parallel()
	_, js := provisioned(t)
	const all = 700
	for i := range all {
		subject := "linepay.commands.tw.refund"
		if i%2 == 0 {
			subject = "linepay.commands.jp.check"
		}
		if _, err := js.Publish(t.Context(), subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := js.Stream(t.Context(), schemas.StreamCommands)
	if err != nil {
		t.Fatal(err)
	}
	gone := func(sequence uint64) bool {
		return sequence > 20 && sequence < 400 || sequence > 690 || sequence%7 == 0
	}
	var want []uint64
	for sequence := uint64(1); sequence <= all; sequence++ {
		if gone(sequence) {
			if err := stream.DeleteMsg(t.Context(), sequence); err != nil {
				t.Fatal(err)
			}
		} else if sequence%2 == 0 { // the first is for jp
			want = append(want, sequence)
		}
	}
	var got []uint64
	if err := walk(t.Context(), js, "linepay.commands.tw.*", func(m pull.Message) { got = append(got, m.Sequence) }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sequences (-want +got):\n%s", diff)
	}
}

func TestProgressIsShownOnTerminalsAlone(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	newProgress(&out).show("1 of 2")
	if out.Len() > 0 {
		t.Errorf("%q is written where there is no terminal", out.String())
	}
	p := &progress{out: &out, columns: 8}
	p.clear()
	p.show("1 of 2")
	p.show("2 of 2, too long")
	p.clear()
	p.clear()
	if want := "1 of 2\r\x1b[K2 of 2,\r\x1b[K"; out.String() != want {
		t.Errorf("written %q, want %q", out.String(), want)
	}
}

func TestMomentsAreTimesDatesOrDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"2026-11-01":                time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		"2026-11-01T00:00:00+08:00": time.Date(2026, 10, 31, 16, 0, 0, 0, time.UTC),
		"24h":                       time.Now().Add(-24 * time.Hour),
	} {
		var m moment
		if err := m.UnmarshalText([]byte(text)); err != nil || m.Sub(want).Abs() > time.Minute {
			t.Errorf("%s is %v (error %v), want %v", text, m, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "-1h", "2026-13-01"} {
		if err := new(moment).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a time", text)
		}
	}
}
