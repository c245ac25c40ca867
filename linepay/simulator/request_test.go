package simulator_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

func TestARequestReservesAPaymentWithAPageAndAnExactID(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	got := m.want("0000", m.post("payments/request", order("o1", "100", "TWD", "")))
	// 20:30 UTC on March 1 is March 2 in Taipei.
	form := regexp.MustCompile(`^{"returnCode":"0000","returnMessage":"Success.","info":{"paymentUrl":{"web":"http://example.com/web/payment/wait\?transactionReserveId=([\w-]{64})",` +
		`"app":"line://pay/payment/([\w-]{64})"},"transactionId":20260302\d{9}10,"paymentAccessToken":"\d{12}"}}$`)
	parts := form.FindStringSubmatch(got.Raw)
	if parts == nil || parts[1] != parts[2] {
		t.Fatalf("answer %s", got.Raw)
	}
	id := m.id64(got, "transactionId")
	if id < 1<<53 || len(id.String()) != 19 {
		t.Errorf("id %v is one that a float could hold", id)
	}
	tx := m.transaction(id)
	if tx.State != simulator.Reserved || tx.OrderID != "o1" || tx.Requested.String() != "100" || !tx.Captured.IsZero() || len(tx.Effects) != 0 {
		t.Errorf("ledger: %+v", tx)
	}
	if call := m.lastCall(); call.OrderID != "o1" || call.TransactionID != id || call.ReturnCode != "0000" || !call.At.Equal(dawn) {
		t.Errorf("ledger: %+v", call)
	}
}

func TestTransactionIDsAreUnique(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	seen := map[linepay.TransactionID]bool{}
	for range 200 {
		seen[m.reserve("same order", "1", "")] = true // the sandbox takes one orderId for several open reservations
	}
	if len(seen) != 200 {
		t.Errorf("%d ids for 200 requests", len(seen))
	}
}

func TestRequestsAreChecked(t *testing.T) {
	t.Parallel()
	good := order("o1", "100", "TWD", "")
	replace := func(old, replacement string) string {
		if !strings.Contains(good, old) {
			panic("not in the body: " + old)
		}
		return strings.ReplaceAll(good, old, replacement)
	}
	for name, each := range map[string]struct {
		body  string
		rules simulator.Rules
		v4    bool
		code  string
		says  string
	}{
		"as it should be":            {body: good, code: "0000"},
		"no amount":                  {body: strings.Replace(good, `"amount":100,`, "", 1), code: "2101", says: "[amount]"},
		"no order":                   {body: replace(`"o1"`, `""`), code: "2101", says: "[orderId]"},
		"order of 101 characters":    {body: replace(`"o1"`, `"`+strings.Repeat("é", 101)+`"`), code: "2101", says: "[orderId]"},
		"order of 100 characters":    {body: replace(`"o1"`, `"`+strings.Repeat("é", 100)+`"`), code: "0000"},
		"no packages":                {body: `{"amount":1,"currency":"TWD","orderId":"o","packages":[],"redirectUrls":{"confirmUrl":"https://a","cancelUrl":"https://a"}}`, code: "2101", says: "[packages]"},
		"no products":                {body: replace(`"products":[{"name":"Brown pen","quantity":1,"price":100}]`, `"products":[]`), code: "2101", says: "products"},
		"no product name":            {body: replace(`"name":"Brown pen",`, ""), code: "2101", says: "[packages.0.products.0.name]"},
		"no quantity":                {body: replace(`"quantity":1,`, ""), code: "2101", says: "quantity"},
		"no price":                   {body: replace(`,"price":100`, ""), code: "2101", says: "price"},
		"no confirmUrl":              {body: replace(`"confirmUrl":"https://shop.example/confirm",`, ""), code: "2101", says: "confirmUrl"},
		"nobody to be sent anywhere": {body: replace(`"confirmUrl":"https://shop.example/confirm","cancelUrl":"https://shop.example/cancel"`, `"confirmUrlType":"NONE"`), code: "0000"},
		"unknown confirmUrlType":     {body: replace(`"confirmUrl":`, `"confirmUrlType":"BOTH","confirmUrl":`), code: "2101", says: "confirmUrlType"},
		"script as confirmUrl":       {body: replace("https://shop.example/confirm", "JavaScript:alert(1)"), code: "2101", says: "confirmUrl"},
		"address of an app":          {body: replace("https://shop.example/confirm", "shop://paid"), code: "0000"},
		"address without scheme":     {body: replace("https://shop.example/confirm", "/confirm"), code: "2101", says: "confirmUrl"},
		"unknown payType":            {body: order("o1", "100", "TWD", `{"payment":{"payType":"CASH"}}`), code: "2101", says: "payType"},
		"currency not contracted":    {body: replace("TWD", "EUR"), code: "1178"},
		"nothing to pay":             {body: order("o1", "0", "TWD", ""), code: "1183"},
		"negative":                   {body: order("o1", "-5", "TWD", ""), code: "1124"},
		"below the minimum":          {body: good, rules: simulator.Rules{MinimumAmount: linepay.MustAmount("101")}, code: "1183"},
		"at the minimum":             {body: good, rules: simulator.Rules{MinimumAmount: linepay.MustAmount("100")}, code: "0000"},
		"above the maximum":          {body: good, rules: simulator.Rules{MaximumAmount: linepay.MustAmount("99")}, code: "1184"},
		"decimals that TWD has not":  {body: order("o1", "100.5", "TWD", ""), code: "1124"},
		"needless decimals":          {body: order("o1", "100.0", "TWD", ""), code: "1124"},
		"needless decimals taken":    {body: order("o1", "100.0", "TWD", ""), rules: simulator.Rules{IgnoreLiteralScale: true}, code: "0000"},
		"exponent without decimals":  {body: order("o1", "1e2", "TWD", ""), code: "0000"},
		"exponent over decimals":     {body: order("o1", "1.00e2", "TWD", ""), code: "0000"},
		"exponent into decimals":     {body: order("o1", "1000e-1", "TWD", ""), code: "1124"},
		"cents":                      {body: order("o1", "10.55", "USD", ""), code: "0000"},
		"tenths of a cent":           {body: order("o1", "10.555", "USD", ""), code: "1124"},
		"amounts as strings":         {body: order("o1", `"100"`, "TWD", ""), code: "0000"},
		"strings refused":            {body: order("o1", `"100"`, "TWD", ""), rules: simulator.Rules{RefuseNumericStrings: true}, code: "2101", says: "[amount]"},
		"amount that is no number":   {body: replace(`"amount":100`, `"amount":true`), code: "2101", says: "[amount]"},
		"packages do not add up":     {body: strings.Replace(good, `"amount":100`, `"amount":101`, 1), code: "2101", says: "form.amount != sum(packages[].amount)"},
		"products do not add up":     {body: replace(`"quantity":1`, `"quantity":2`), code: "2101", says: "packages[].amount != sum("},
		"v3 adds the user's fee":     {body: withFee("110"), code: "0000"},
		"v3 misses the user's fee":   {body: withFee("100"), code: "2101", says: "form.amount"},
		"v4 knows no user's fee":     {body: withFee("100"), v4: true, code: "0000"},
		"v3 adds the shipping fee":   {body: strings.Replace(order("o1", "100", "TWD", `{"shipping":{"feeAmount":9}}`), `"amount":100`, `"amount":109`, 1), code: "0000"},
		"no contract for capture":    {body: order("o1", "100", "TWD", holds), rules: simulator.Rules{RefuseSeparateCapture: true}, code: "2103", says: "[capture:false]"},
		"no contract for keys":       {body: order("o1", "100", "TWD", registers), rules: simulator.Rules{RefusePreapproved: true}, code: "1194"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := open(t, each.rules)
			if each.v4 {
				m.version = "v4"
			}
			got := m.want(each.code, m.post("payments/request", each.body))
			if !strings.Contains(got.Message, each.says) {
				t.Errorf("returnMessage %q, want %q", got.Message, each.says)
			}
			if kept := len(m.sim.Ledger().Transactions); (kept == 1) != (each.code == "0000") {
				t.Errorf("%d transactions", kept)
			}
		})
	}
}

func withFee(amount string) string {
	return `{"amount":` + amount + `,"currency":"TWD","orderId":"o1","packages":[{"id":"p","amount":100,"userFee":10,
		"products":[{"name":"x","quantity":4,"price":25,"originalPrice":30}]}],
		"redirectUrls":{"confirmUrl":"https://shop.example/c","cancelUrl":"https://shop.example/x"}}`
}

func TestAPaidOrderIsNotReservedAgain(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	m.paid("o1", "100", "")
	m.want("1172", m.post("payments/request", order("o1", "100", "TWD", "")))
	m = open(t, simulator.Rules{AcceptPaidOrder: true})
	m.paid("o1", "100", "")
	second := m.authenticated("o1", "100", "")
	m.want("1172", m.confirm(second, "100"))
}

func TestAnOrderWithAnOpenReservationCanBeRefused(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{OpenOrderCode: "1145"})
	m.reserve("o1", "100", "")
	m.want("1145", m.post("payments/request", order("o1", "100", "TWD", "")))
	m.advance(20 * time.Minute)
	m.want("0000", m.post("payments/request", order("o1", "100", "TWD", "")))
}
