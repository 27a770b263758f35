// Lists the channels of a nimsync registry, with what a stranger needs: Debian's golang-go and
// golang-github-varlink-go-dev. tests/varlink/go builds and runs it, from the registry's own description of itself.
//
//	list_channels unix:/run/nimsync/registry.sock
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	registry "ionimsyncregistry"

	"github.com/varlink/go/varlink"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: list_channels ADDRESS")
	}
	ctx := context.Background()
	connection, err := varlink.NewConnection(ctx, os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()

	// With More the registry answers in parts, however many channels there are.
	receive, err := registry.List().Send(ctx, connection, varlink.More, "")
	for flags := uint64(varlink.Continues); err == nil && flags&varlink.Continues != 0; {
		var channels []registry.Channel
		if channels, flags, err = receive(ctx); err == nil {
			for _, channel := range channels {
				fmt.Println(channel.Name, channel.Shape.Layout, channel.Counts.Sent, channel.State)
			}
		}
	}
	if err != nil {
		log.Fatal(err)
	}
}
