"""CVMS: the Collateral Vault Management Service."""
