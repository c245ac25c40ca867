package simulator_test

import (
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// browser is a customer at a payment page, with the shop to come back to.
type browser struct {
	*merchant
	pay, shop *httptest.Server
	client    *http.Client
	visits    chan string // addresses of the shop that were opened
}

func browse(t *testing.T, rules simulator.Rules) *browser {
	m := open(t, rules)
	b := &browser{merchant: m, visits: make(chan string, 4)}
	b.pay = httptest.NewServer(m.sim)
	b.shop = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { b.visits <- r.RequestURI }))
	t.Cleanup(func() {
		m.sim.Close()
		b.pay.Close()
		b.shop.Close()
	})
	b.client = b.pay.Client()
	return b
}

// request reserves a payment over the wire, so that the page's address is the server's own.
func (b *browser) request(orderID, redirects string) (linepay.TransactionID, string) {
	b.t.Helper()
	body := strings.ReplaceAll(order(orderID, "1234", "TWD", holds), `"confirmUrl":"https://shop.example/confirm","cancelUrl":"https://shop.example/cancel"`, redirects)
	body = strings.ReplaceAll(body, "https://shop.example", b.shop.URL)
	body = strings.ReplaceAll(body, "Brown pen", `<b>\"pen\"</b>`)
	signed := b.build("POST", "payments/request", body)
	out, err := http.NewRequest(signed.Method, b.pay.URL+signed.URL.Path, signed.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	out.Header = signed.Header
	response, err := b.client.Do(out)
	if err != nil {
		b.t.Fatal(err)
	}
	got := b.want("0000", decode(b.t, response))
	web := regexp.MustCompile(`"web":"([^"]+)"`).FindStringSubmatch(got.Raw)[1]
	return b.id64(got, "transactionId"), web
}

func (b *browser) open(address string) (int, string) {
	b.t.Helper()
	response, err := b.client.Get(address)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.read(response)
}

func (b *browser) read(response *http.Response) (int, string) {
	b.t.Helper()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode, string(text)
}

// press submits the page's form that has the button.
func (b *browser) press(page, button string) (int, string) {
	b.t.Helper()
	form := regexp.MustCompile(`(?s)<form method="post" action="([^"]+)">\s*<input type="hidden" name="(\w+)" value="([\w-]+)">\s*<button [^>]*>` + button + `</button>`)
	parts := form.FindStringSubmatch(page)
	if parts == nil {
		b.t.Fatalf("no button %s on the page:\n%s", button, page)
	}
	response, err := b.client.PostForm(b.pay.URL+parts[1], url.Values{parts[2]: {parts[3]}})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.read(response)
}

const bothURLs = `"confirmUrl":"https://shop.example/confirm?cart=a%20b&orderId=mine#top","cancelUrl":"https://shop.example/cancel"`

func TestPayLeadsToConfirmURLAndCancelToCancelURL(t *testing.T) {
	t.Parallel()
	b := browse(t, simulator.Rules{})
	id, web := b.request("o 1", bothURLs)
	if !strings.HasPrefix(web, b.pay.URL+"/web/payment/wait?transactionReserveId=") {
		t.Fatalf("paymentUrl.web %s", web)
	}
	status, page := b.open(web)
	if status != 200 || !strings.Contains(page, "1234 <small>TWD</small>") || !strings.Contains(page, "o 1") || !strings.Contains(page, "LINE Pay simulator") {
		t.Errorf("HTTP %d\n%s", status, page)
	}
	if strings.Contains(page, "<b>") || !strings.Contains(html.UnescapeString(page), `<b>"pen"</b>`) {
		t.Errorf("the product's name is not escaped:\n%s", page)
	}
	b.press(page, "Pay")
	if got, want := <-b.visits, "/confirm?cart=a%20b&orderId=mine&transactionId="+id.String(); got != want {
		t.Errorf("the customer came back to %s, want %s", got, want)
	}
	b.wantState(id, simulator.Authenticated)
	b.press(page, "Pay") // back and once more
	<-b.visits
	_, page = b.open(web)
	if !strings.Contains(page, "You have paid") || !strings.Contains(page, "Back to the merchant") || strings.Contains(page, "<form") {
		t.Errorf("page after paying:\n%s", page)
	}

	id, web = b.request("o 2", bothURLs)
	_, page = b.open(web)
	b.press(page, "Cancel")
	if got, want := <-b.visits, "/cancel?orderId=o+2&transactionId="+id.String(); got != want {
		t.Errorf("the customer came back to %s, want %s", got, want)
	}
	b.wantState(id, simulator.Cancelled)
	if status, page := b.press(page, "Pay"); status != 409 || !strings.Contains(page, "You have cancelled this payment.") {
		t.Errorf("HTTP %d\n%s", status, page)
	}
	if tx := b.transaction(id); len(tx.Effects) != 0 {
		t.Errorf("the page moved money: %+v", tx)
	}
}

func TestTheRedirectIsAPlain303(t *testing.T) {
	t.Parallel()
	b := browse(t, simulator.Rules{})
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	id, web := b.request("o1", `"confirmUrl":"shop://paid/?#top","cancelUrl":"https://shop.example/cancel"`)
	_, reserve, _ := strings.Cut(web, "=")
	response, err := b.client.PostForm(b.pay.URL+"/web/payment/pay", url.Values{"transactionReserveId": {reserve}})
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if got, want := response.Header.Get("Location"), "shop://paid/?orderId=o1&transactionId="+id.String()+"#top"; response.StatusCode != 303 || got != want {
		t.Errorf("HTTP %d %s, want %s", response.StatusCode, got, want)
	}
	_, page := b.open(web)
	if !strings.Contains(html.UnescapeString(page), `href="shop://paid/?orderId=o1&transactionId=`) {
		t.Errorf("the link to the app is gone:\n%s", page)
	}
}

func TestNobodyIsSentAnywhereWithConfirmURLTypeNone(t *testing.T) {
	t.Parallel()
	b := browse(t, simulator.Rules{})
	id, web := b.request("o1", `"confirmUrlType":"NONE"`)
	_, page := b.open(web)
	if status, page := b.press(page, "Pay"); status != 200 || !strings.Contains(page, "You have paid") || strings.Contains(page, "Back to") {
		t.Errorf("HTTP %d\n%s", status, page)
	}
	b.wantState(id, simulator.Authenticated)
}

func TestTheServerCallsConfirmURLOnlyWhereTheRulesSaySo(t *testing.T) {
	t.Parallel()
	const server = `"confirmUrlType":"SERVER","confirmUrl":"https://shop.example/confirm","cancelUrl":"https://shop.example/cancel"`
	b := browse(t, simulator.Rules{CallConfirmURL: true})
	id, web := b.request("o1", server)
	_, page := b.open(web)
	if status, page := b.press(page, "Pay"); status != 200 || !strings.Contains(page, "You have paid") {
		t.Errorf("HTTP %d\n%s", status, page)
	}
	if got, want := <-b.visits, "/confirm?orderId=o1&transactionId="+id.String(); got != want {
		t.Errorf("LINE Pay called %s, want %s", got, want)
	}
	id, _ = b.request("o2", server)
	if err := b.sim.Authenticate(id); err != nil {
		t.Fatal(err)
	}
	<-b.visits // paying by the control side is paying

	b = browse(t, simulator.Rules{})
	_, web = b.request("o1", server)
	_, page = b.open(web)
	b.press(page, "Pay")
	<-b.visits // by the browser
	if len(b.visits) != 0 {
		t.Error("confirmUrl was opened twice")
	}
}

func TestPagesOfDeadAndUnknownReservations(t *testing.T) {
	t.Parallel()
	b := browse(t, simulator.Rules{})
	_, web := b.request("o1", bothURLs)
	_, page := b.open(web)
	b.advance(20 * time.Minute)
	if status, page := b.press(page, "Pay"); status != 409 || !strings.Contains(page, "The time for this payment is over.") {
		t.Errorf("HTTP %d\n%s", status, page)
	}
	if status, _ := b.open(b.pay.URL + "/web/payment/wait?transactionReserveId=unknown"); status != 404 {
		t.Errorf("HTTP %d", status)
	}
	if status, _ := b.press(strings.NewReplacer(web[strings.Index(web, "=")+1:], "unknown").Replace(page), "Cancel"); status != 404 {
		t.Errorf("HTTP %d", status)
	}
}

func TestThePageIsFoundAtTheConfiguredAddress(t *testing.T) {
	t.Parallel()
	m := openWith(t, simulator.Config{BaseURL: "https://pay.example/"})
	got := m.want("0000", m.post("payments/request", order("o1", "1", "TWD", "")))
	if !strings.Contains(got.Raw, `"web":"https://pay.example/web/payment/wait?`) {
		t.Error(got.Raw)
	}
}
