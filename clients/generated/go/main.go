// Opens a vault, deposits and withdraws with the client of openapi-generator.
package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	cvms "example.com/cvms/client"
)

var (
	seed, _   = hex.DecodeString(os.Getenv("WALLET_SEED"))
	key       = ed25519.NewKeyFromSeed(seed)
	public    = key.Public().(ed25519.PublicKey)
	owner     = os.Getenv("OWNER")
	amount, _ = strconv.ParseInt(os.Getenv("AMOUNT"), 10, 64)
	ctx       = context.Background()
	service   = client()
)

func client() *cvms.APIClient {
	settings := cvms.NewConfiguration()
	settings.Servers = cvms.ServerConfigurations{{URL: os.Getenv("SERVICE_URL")}}
	return cvms.NewAPIClient(settings)
}

func checked[T any](value T, reply *http.Response, err error) T {
	if err != nil {
		panic(fmt.Sprint(reply, err))
	}
	return value
}

// Returns a new nonce, and the signature of the action's text.
func signed(action string, amount int64) (string, string) {
	issued := checked(service.AuthenticationAPI.IssueNonce(ctx).NonceRequest(*cvms.NewNonceRequest(owner)).Execute())
	text := fmt.Sprintf("%s:%s:%d:%s", action, owner, amount, issued.Nonce)
	return issued.Nonce, base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

// Returns the slot in which the transaction landed.
func land(transaction string) int64 {
	wire, _ := base64.StdEncoding.DecodeString(transaction)
	message := wire[1+64*int(wire[0]):]
	keys := 4
	if message[0]&0x80 != 0 {
		keys = 5
	}
	for place := range int(wire[0]) {
		if public.Equal(ed25519.PublicKey(message[keys+32*place : keys+32*place+32])) {
			copy(wire[1+64*place:], ed25519.Sign(key, message))
		}
	}
	body := *cvms.NewCoSigned(base64.StdEncoding.EncodeToString(wire))
	accepted := checked(service.TransactionsAPI.SubmitTransaction(ctx).CoSigned(body).Execute())
	for {
		state := checked(service.TransactionsAPI.GetTransaction(ctx, accepted.GetSignature()).Execute())
		switch state.Status {
		case "confirmed", "finalized":
			return state.GetSlot()
		case "pending", "submitted":
			time.Sleep(50 * time.Millisecond)
		default:
			panic(state.Status)
		}
	}
}

// Returns the balance as of a slot or a later one, once that is indexed.
func balanceSince(slot int64) int64 {
	for {
		found, reply, err := service.VaultsAPI.GetBalance(ctx, owner).XMinSlot(slot).Execute()
		if err == nil {
			return found.Balance
		}
		if reply == nil || reply.StatusCode != 422 {
			panic(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func main() {
	opened := checked(service.VaultsAPI.InitializeVault(ctx).Initialize(*cvms.NewInitialize(owner)).Execute())
	land(opened.Transaction)

	nonce, signature := signed("deposit", amount)
	deposit := *cvms.NewDeposit(owner, nonce, signature, amount)
	planned := checked(service.VaultsAPI.Deposit(ctx).Deposit(deposit).Execute())
	if found := balanceSince(land(planned.Transaction)); found != amount {
		panic(found)
	}

	nonce, signature = signed("withdraw", 1_000_000)
	withdraw := *cvms.NewWithdraw(owner, nonce, signature, 1_000_000)
	requested := checked(service.VaultsAPI.Withdraw(ctx).Withdraw(withdraw).Execute())
	fmt.Printf("balance %d\n", balanceSince(land(requested.GetTransaction())))
}
