// Package simulator is LINE Pay's Online API as a merchant sees it: the ten calls under /v3 and /v4, signatures and result codes, the
// customer's payment page, a ledger of what was carried out, and faults on request.
//
// It is for tests and demos, of this project and of any other merchant software: an HTTP client, or a LINE Pay SDK whose host can be set,
// works against it with only the host changed. It takes no real money, keeps nothing on disk, and its control side asks nobody who they are:
// serve it on a loopback address or a private network.
//
// It promises that what its ledger shows is what its API did: each effect is entered in the same critical section that judges the call.
// Where LINE Pay's behaviour is documented or was seen, the simulator does the same; where it is only inferred, a field of Rules switches
// it, and the field's comment says so.
//
//	sim := simulator.New(simulator.Config{})
//	defer sim.Close()
//	http.ListenAndServe("127.0.0.1:8200", sim)
//
// # Calls
//
// A call is judged in this order: headers and form of the channel id (1106), channel (1104), signature (1106), nonce where Rules ask for
// it (1106), merchant (1105), path and method (2104), 64-bit transaction id (2101 with errorDetailMap), faults, one call at a time on a
// payment (1198) or key (1197), body (2102, 2101), and then the operation's own rules. The HTTP status is 200 throughout.
//
// Ids and amounts are bare JSON numbers in LINE Pay's answers, exactly; the control side writes both as strings.
//
// While a confirm, capture, void or refund is running, which takes a fault of kind delay, the same operation on that payment answers 1198
// and another one waits for its turn. A second payment with a busy key answers 1197.
//
// # The customer
//
// paymentUrl.web is a page with the buttons Pay and Cancel. They lead (303) to confirmUrl or cancelUrl with orderId and transactionId
// appended. With confirmUrlType NONE the page just says that it is done; with SERVER it behaves as with CLIENT, unless
// Rules.CallConfirmURL is set: then the simulator fetches confirmUrl itself and the page says that it is done.
//
// # The control side
//
// Bodies and answers are JSON; a member that does not exist is refused with 400, as are values that make no sense, with an answer
// {"error":"…"}. An unknown payment is 404, an act that its state does not allow 409. Times are RFC 3339, durations milliseconds.
//
//	GET    /_simulator/ledger                                   all transactions with their effects, and all calls (see Ledger); with
//	                                                            ?orderId=A&orderId=B those of these orders alone
//	POST   /_simulator/payments/{transactionId}/authenticate    the customer pays; answers the transaction
//	POST   /_simulator/payments/{transactionId}/cancel          the customer cancels; answers the transaction
//	POST   /_simulator/payments/{transactionId}/refund          {"amount":"100"}: a refund made by hand in the merchant centre, an effect
//	                                                            without a call; answers {"refundTransactionId":"…"}
//	POST   /_simulator/faults                                   adds a fault (see Fault); answers it with its defaults, status 201
//	GET    /_simulator/faults                                   {"faults":[…]} still to strike, with what is left of their counts
//	DELETE /_simulator/faults                                   clears them, status 204
//	POST   /_simulator/clock                                    {"advanceMs":60000} moves the clock forward; answers {"now":"…"}
//	GET    /_simulator/clock                                    {"now":"…"}
//	GET    /_simulator/rules                                    the rules in force (see Rules)
//	POST   /_simulator/rules                                    {"prematureConfirmFails":true} changes the rules it names and keeps the
//	                                                            others; null, "" and 0 bring a default back; answers all rules
//
// A fault is {"operation":"refund","kind":"drop","when":"after","count":1,"probability":1,"delayMs":0,"code":""}; only kind is required
// (and code for kind code). It strikes instead of the operation (before, the default), which is then never carried out, or after it. A
// delay before ends with a closed connection, a delay after answers late; by default a delay is neither: "during", the operation takes that
// long, and is carried out at its end. Delays are real time, do not depend on the caller's connection, and end with Close. With
// "transactionId":"…" a fault is for the calls that have this id in their path, so that several can share a simulator.
package simulator
