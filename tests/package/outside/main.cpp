#include <cstdint>
#include <iostream>
#include <nimsync/nimsync.hpp>

struct Tick {
  std::uint64_t seq;
  double price;
};

int main() try {
  auto [tx, rx] = nimsync::make_channel<Tick>({.capacity = 16});
  Tick got{};
  if (!tx.try_send({.seq = 7, .price = 12.5}) || !rx.try_receive(got)) return 1;
  std::cout << "tick " << got.seq << " at " << got.price << '\n';
  // Links the half that speaks to a registry, too.
  return nimsync::Registry::places().empty() ? 1 : 0;
} catch (const nimsync::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
