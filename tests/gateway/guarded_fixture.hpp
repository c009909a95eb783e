// A gateway that verifies tokens, and the tokens for it.
#pragma once

#include "gateway/auth.hpp"

#include "tests/gateway/http_fixture.hpp"
#include "tests/support/temp_dir.hpp"

#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

namespace callboard::testing {

class guarded_fixture : public http_fixture {
public:
  guarded_fixture() {
    auth_.hs256_secret_file = folder_.str() + "/secret";
    std::ofstream{auth_.hs256_secret_file} << "0123456789abcdef0123456789abcdef";
    verifier_ = gateway::token_verifier::from(auth_).value();
    run([this] { sessions->verifier = verifier_.get(); });
  }

  /// Of tenant acme, for a minute; of "ada" where the claims name nobody.
  [[nodiscard]] std::string token_of(gateway::token_claims claims) const {
    if (claims.subject.empty()) claims.subject = "ada";
    claims.tenant = tenant_name::trusted("acme");
    claims.lifetime = std::chrono::minutes{1};
    return gateway::issue_token(auth_, claims, time.wall()).value();
  }

  /// The header that carries it.
  [[nodiscard]] std::string bearer_of(gateway::token_claims claims) const {
    return "Authorization: Bearer " + token_of(std::move(claims)) + "\r\n";
  }

private:
  temp_dir folder_;
  config::auth_section auth_;
  std::unique_ptr<gateway::token_verifier> verifier_;
};

}  // namespace callboard::testing
