package schemas

import "linepay-worker/linepay"

// Rules for the strings of LINE Pay's request body (developers-pay.line.me/online-api-v3/request-payment). Texts that people read may be
// empty and may hold line breaks. Where LINE Pay names no length, a wide one keeps the command bounded.
var (
	packageIDRule      = &textRule{least: 1, most: 50}
	packageNameRule    = &textRule{most: 100}
	productIDRule      = &textRule{most: 50}
	imageURLRule       = &textRule{most: 500}
	redirectURLRule    = &textRule{least: 1, most: 500, printable: true}
	appPackageRule     = &textRule{most: 4000}
	branchNameRule     = &textRule{most: 200}
	freeTextRule       = &textRule{most: 1000} // over-long branch ids are cut by LINE Pay, not refused
	localeRule         = &textRule{least: 1, most: 20, printable: true}
	eventCodeRule      = &textRule{least: 1, most: 30}
	friendTypeRule     = &textRule{least: 1, most: 50}
	friendIDRule       = &textRule{least: 1, most: 200}
	confirmURLTypeRule = &textRule{words: []string{"CLIENT", "SERVER", "NONE"}}
	payTypeRule        = &textRule{words: []string{"NORMAL", "PREAPPROVED"}}
	regPayTypeRule     = &textRule{words: []string{"RECURRING", "NON_RECURRING"}}
	periodRule         = &textRule{words: []string{"WEEK", "MONTH", "YEAR"}}
	dayOfWeekRule      = &textRule{words: []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}}
	shippingTypeRule   = &textRule{words: []string{"NO_SHIPPING", "FIXED_ADDRESS", "SHIPPING"}}
	feeInquiryRule     = &textRule{words: []string{"CONDITION", "FIXED"}}
)

// readRequest reads LINE Pay's own request body. Optional members may be null in it, as in LINE Pay's examples.
func readRequest(o *object) *RequestData {
	if o != nil {
		o.nulls = true
	}
	d := &RequestData{}
	d.Currency = o.text("currency", required, currencyRule)
	scale := scaleOf(d.Currency)
	d.Amount = orZero(o.amount("amount", required, positive, scale))
	d.OrderID = o.text("orderId", required, orderIDRule)
	for _, nested := range o.objects("packages", required, 1) {
		d.Packages = append(d.Packages, readPackage(nested, scale))
	}
	d.RedirectURLs = readRedirectURLs(o.object("redirectUrls", required))
	d.Options = readOptions(o.object("options", optional), scale)
	return d
}

func readPackage(o *object, scale int) linepay.RequestPackage {
	defer o.done()
	p := linepay.RequestPackage{
		ID:      o.text("id", required, packageIDRule),
		Amount:  orZero(o.amount("amount", required, notNegative, scale)),
		UserFee: orZero(o.amount("userFee", optional, notNegative, scale)),
		Name:    o.text("name", optional, packageNameRule),
	}
	for _, nested := range o.objects("products", required, 0) {
		p.Products = append(p.Products, readProduct(nested))
	}
	return p
}

func readProduct(o *object) linepay.Product {
	defer o.done()
	return linepay.Product{
		ID:       o.text("id", optional, productIDRule),
		Name:     o.text("name", required, productRule),
		ImageURL: o.text("imageUrl", optional, imageURLRule),
		Quantity: orZero(o.amount("quantity", required, notNegative, anyScale)),
		// A discount is a product with a negative price.
		Price:         orZero(o.amount("price", required, anySign, anyScale)),
		OriginalPrice: orZero(o.amount("originalPrice", optional, anySign, anyScale)),
	}
}

func readRedirectURLs(o *object) linepay.RedirectURLs {
	defer o.done()
	kind := o.text("confirmUrlType", optional, confirmURLTypeRule)
	need := required
	if kind == "NONE" {
		need = optional // nobody is sent anywhere: the merchant polls with check
	}
	return linepay.RedirectURLs{
		AppPackageName: o.text("appPackageName", optional, appPackageRule),
		ConfirmURL:     o.text("confirmUrl", need, redirectURLRule),
		ConfirmURLType: kind,
		CancelURL:      o.text("cancelUrl", need, redirectURLRule),
	}
}

func readOptions(o *object, scale int) *linepay.RequestOptions {
	if o == nil {
		return nil
	}
	defer o.done()
	options := &linepay.RequestOptions{}
	if p := o.object("payment", optional); p != nil {
		options.Payment = &linepay.PaymentOptions{Capture: p.boolean("capture"), PayType: p.text("payType", optional, payTypeRule)}
		p.done()
	}
	if d := o.object("display", optional); d != nil {
		options.Display = &linepay.DisplayOptions{
			Locale:                 d.text("locale", optional, localeRule),
			CheckConfirmURLBrowser: d.boolean("checkConfirmUrlBrowser"),
		}
		d.done()
	}
	options.Extra = readExtra(o.object("extra", optional))
	for _, nested := range o.objects("events", optional, 0) {
		options.Events = append(options.Events, linepay.PromotionEvent{
			Code:            nested.text("code", required, eventCodeRule),
			TotalAmount:     nested.amount("totalAmount", optional, notNegative, anyScale),
			ProductQuantity: nested.amount("productQuantity", optional, notNegative, anyScale),
		})
		nested.done()
	}
	options.FamilyService = readFamilyService(o.object("familyService", optional))
	options.RegPayRequest = readRegPay(o.object("regPayRequest", optional))
	options.Shipping = readShipping(o.object("shipping", optional), scale)
	return options
}

func readExtra(o *object) *linepay.ExtraOptions {
	if o == nil {
		return nil
	}
	defer o.done()
	extra := &linepay.ExtraOptions{
		BranchName: o.text("branchName", optional, branchNameRule),
		BranchID:   o.text("branchId", optional, freeTextRule),
	}
	if r := o.object("promotionRestriction", optional); r != nil {
		extra.PromotionRestriction = &linepay.PromotionRestriction{
			UseLimit:    r.amount("useLimit", optional, notNegative, anyScale),
			RewardLimit: orZero(r.amount("rewardLimit", required, notNegative, anyScale)),
		}
		r.done()
	}
	return extra
}

func readFamilyService(o *object) *linepay.FamilyService {
	if o == nil {
		return nil
	}
	defer o.done()
	family := &linepay.FamilyService{}
	for _, nested := range o.objects("addFriends", optional, 0) {
		family.AddFriends = append(family.AddFriends, linepay.AddFriends{
			Type:   nested.text("type", required, friendTypeRule),
			IDList: nested.texts("idList", required, friendIDRule, maxElements),
		})
		nested.done()
	}
	return family
}

func readRegPay(o *object) *linepay.RegPayRequest {
	if o == nil {
		return nil
	}
	defer o.done()
	return &linepay.RegPayRequest{
		RegPayPeriodType:    o.text("regPayPeriodType", optional, regPayTypeRule),
		RecurringPeriod:     o.text("recurringPeriod", optional, periodRule),
		RecurringDay:        o.integer("recurringDay", 1, 31),
		RecurringDayOfWeek:  o.text("recurringDayOfWeek", optional, dayOfWeekRule),
		RecurringMonth:      o.integer("recurringMonth", 1, 12),
		ProductPrice:        o.amount("productPrice", optional, notNegative, anyScale),
		PerTransactionLimit: o.amount("perTransactionLimit", optional, notNegative, anyScale),
	}
}

func readShipping(o *object, scale int) *linepay.ShippingOptions {
	if o == nil {
		return nil
	}
	defer o.done()
	return &linepay.ShippingOptions{
		Type:           o.text("type", optional, shippingTypeRule),
		FeeAmount:      o.amount("feeAmount", optional, notNegative, scale),
		FeeInquiryURL:  o.text("feeInquiryUrl", optional, imageURLRule),
		FeeInquiryType: o.text("feeInquiryType", optional, feeInquiryRule),
		Address:        readAddress(o.object("address", optional)),
	}
}

func readAddress(o *object) *linepay.ShippingAddress {
	if o == nil {
		return nil
	}
	defer o.done()
	address := &linepay.ShippingAddress{
		Country:    o.text("country", optional, freeTextRule),
		PostalCode: o.text("postalCode", optional, freeTextRule),
		State:      o.text("state", optional, freeTextRule),
		City:       o.text("city", optional, freeTextRule),
		Detail:     o.text("detail", optional, freeTextRule),
		Optional:   o.text("optional", optional, freeTextRule),
	}
	if r := o.object("recipient", optional); r != nil {
		address.Recipient = &linepay.Recipient{
			FirstName:         r.text("firstName", optional, freeTextRule),
			LastName:          r.text("lastName", optional, freeTextRule),
			FirstNameOptional: r.text("firstNameOptional", optional, freeTextRule),
			LastNameOptional:  r.text("lastNameOptional", optional, freeTextRule),
			Email:             r.text("email", optional, freeTextRule),
			PhoneNo:           r.text("phoneNo", optional, freeTextRule),
		}
		r.done()
	}
	return address
}
