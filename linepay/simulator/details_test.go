package simulator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// found lists the ids of a details answer.
func (m *merchant) found(r reply) []linepay.TransactionID {
	m.t.Helper()
	m.want("0000", r)
	var info []struct {
		TransactionID linepay.TransactionID `json:"transactionId"`
	}
	if err := json.Unmarshal(r.Info, &info); err != nil {
		m.t.Fatal(err)
	}
	ids := make([]linepay.TransactionID, 0, len(info))
	for _, each := range info {
		ids = append(ids, each.TransactionID)
	}
	return ids
}

func (m *merchant) wantFound(r reply, want ...linepay.TransactionID) {
	m.t.Helper()
	if got := m.found(r); fmt.Sprint(got) != fmt.Sprint(want) {
		m.t.Fatalf("details of %v, want %v", got, want)
	}
}

func TestDetailsTellAboutAConfirmedPayment(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.paid("o1", "100", "")
	want := fmt.Sprintf(`[{"transactionId":%v,"transactionDate":"2026-03-01T20:30:15Z","transactionType":"PAYMENT","payStatus":"CAPTURE",`+
		`"productName":"Brown pen","merchantName":"LINE Pay simulator","currency":"TWD","authorizationExpireDate":"2026-03-01T20:30:15Z",`+
		`"orderId":"o1","payInfo":[{"method":"CREDIT_CARD","amount":100}],"packages":[{"id":"p1","amount":100,"userFeeAmount":0,`+
		`"products":[{"name":"Brown pen","quantity":1,"price":100}]}]}]`, id)
	if got := m.want("0000", m.details(id)); string(got.Info) != want {
		t.Errorf("info %s, want %s", got.Info, want)
	}
}

func TestDetailsFollowTheMoney(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.paid("o1", "100", holds)
	status := func(want, amount string) {
		t.Helper()
		raw := m.want("0000", m.details(id)).Raw
		if !strings.Contains(raw, `"payStatus":"`+want+`"`) || !strings.Contains(raw, `"payInfo":[{"method":"CREDIT_CARD","amount":`+amount+`}]`) {
			t.Errorf("details %s, want %s of %s", raw, want, amount)
		}
	}
	status("AUTHORIZATION", "100")
	m.want("0000", m.capture(id, "80"))
	status("CAPTURE", "80")
	m.want("0000", m.refund(id, `{"refundAmount":30}`))
	status("CAPTURE", "80") // not reduced by refunds
	id = m.paid("o2", "100", holds)
	m.want("0000", m.void(id))
	status("VOIDED_AUTHORIZATION", "100")
}

func TestRefundListIsNegativeAndTellsPartsFromTheWhole(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	whole := m.paid("o1", "100", "")
	refund := m.id64(m.refund(whole, "{}"), "refundTransactionId")
	want := fmt.Sprintf(`"refundList":[{"refundTransactionId":%v,"transactionType":"PAYMENT_REFUND","refundAmount":-100,"refundTransactionDate":"2026-03-01T20:30:15Z"}]`, refund)
	if got := m.details(whole); !strings.Contains(got.Raw, want) {
		t.Errorf("details %s, want %s", got.Raw, want)
	}
	parts := m.paid("o2", "100", "")
	m.want("0000", m.refund(parts, `{"refundAmount":60}`))
	m.want("0000", m.refund(parts, `{"refundAmount":40}`))
	if got := m.details(parts); strings.Count(got.Raw, "PARTIAL_REFUND") != 2 || strings.Contains(got.Raw, "PAYMENT_REFUND") {
		t.Errorf("details %s", got.Raw)
	}
}

func TestDetailsOfARefundNameItsPayment(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.paid("o1", "100", "")
	refund := m.id64(m.refund(id, `{"refundAmount":30}`), "refundTransactionId")
	got := m.details(refund)
	m.wantFound(got, refund)
	for _, want := range []string{
		fmt.Sprintf(`"originalTransactionId":%v`, id), `"transactionType":"PARTIAL_REFUND"`, `"payInfo":[{"method":"CREDIT_CARD","amount":-30}]`,
	} {
		if !strings.Contains(got.Raw, want) {
			t.Errorf("details %s, want %s", got.Raw, want)
		}
	}
	m.wantFound(m.get("payments?orderId=o1"), id) // by order, the refund stands in the payment's list
}

func TestDetailsTakeRepeatedAndJoinedIDs(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	a, b, c := m.paid("a", "1", ""), m.paid("b", "2", ""), m.paid("c,d", "3", "")
	m.wantFound(m.get(fmt.Sprintf("payments?transactionId=%v&transactionId=%v", a, b)), a, b)
	m.wantFound(m.get(fmt.Sprintf("payments?transactionId=%v%%2C%v", a, b)), a, b)
	m.wantFound(m.get("payments?orderId=a&orderId=b"), a, b)
	m.wantFound(m.get("payments?orderId=a,b"), a, b)
	m.wantFound(m.get("payments?orderId=c%2Cd"), c)
	m.wantFound(m.get(fmt.Sprintf("payments?transactionId=%v&transactionId=7", a)), a) // what is not found is left out
	if call := m.lastCall(); call.TransactionID != 0 {
		t.Errorf("ledger: %+v", call)
	}
}

func TestMixedIDsMeanBothUnlessTheRulesSayEither(t *testing.T) {
	t.Parallel()
	for _, anyOf := range []bool{false, true} {
		m := open(t, simulator.Rules{DetailsAnyOf: anyOf})
		a, b := m.paid("a", "1", ""), m.paid("b", "2", "")
		m.wantFound(m.get(fmt.Sprintf("payments?transactionId=%v&orderId=a", a)), a)
		got := m.get(fmt.Sprintf("payments?transactionId=%v&orderId=b", a))
		if anyOf {
			m.wantFound(got, a, b)
		} else {
			m.want("1150", got)
		}
	}
}

func TestDetailsNeedOneToAHundredIDs(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	m.want("2101", m.get("payments"))
	m.want("2101", m.get("payments?transactionId="))
	m.want("2101", m.get("payments?transactionId=12x"))
	m.want("2101", m.get("payments?orderId=%zz"))
	m.want("1150", m.get("payments?orderId=o"+strings.Repeat("&orderId=o", 99)))
	m.want("1177", m.get("payments?orderId=o"+strings.Repeat("&orderId=o", 100)))
	m.want("1177", m.get("payments?transactionId=1"+strings.Repeat(",1", 100)))
}

func TestDetailsAnswerAHundredRecordsAtMost(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{DetailsAnyOf: true})
	query := "payments?orderId=none"
	for i := range 101 {
		order := fmt.Sprint("o", i)
		id := m.paid(order, "1", "")
		if i%2 == 0 {
			query += "&orderId=" + order
		} else {
			query += "&transactionId=" + id.String()
		}
		if i == 99 {
			if n := len(m.found(m.get(query))); n != 100 {
				t.Errorf("%d records", n)
			}
		}
	}
	m.want("1177", m.get(query))
}

func TestLookUpsCanLagBehind(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{LookupLag: time.Minute})
	id := m.paid("o1", "100", holds)
	m.want("1150", m.details(id))
	m.want("0110", m.check(id))
	m.want("1172", m.confirm(id, "100")) // only look-ups lag
	m.advance(time.Minute)
	m.want("0000", m.details(id))
	m.want("0123", m.check(id))

	m.want("0000", m.capture(id, "80"))
	if got := m.details(id); !strings.Contains(got.Raw, `"payStatus":"AUTHORIZATION"`) {
		t.Errorf("details %s", got.Raw)
	}
	m.advance(time.Minute)
	refund := m.id64(m.want("0000", m.refund(id, "{}")), "refundTransactionId")
	if got := m.details(id); !strings.Contains(got.Raw, `"payStatus":"CAPTURE"`) || strings.Contains(got.Raw, "refundList") {
		t.Errorf("details %s", got.Raw)
	}
	m.want("1150", m.details(refund))
	m.advance(time.Minute)
	m.want("0000", m.details(refund))
}
