"""OIDC: callers whom an identity provider (统一身份认证) knows, by the tokens that it signs. The one door to PyJWT."""
