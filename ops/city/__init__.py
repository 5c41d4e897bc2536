"""The example city: Guangzhou's departments at any scale, entirely synthetic, seeded and alive.

`City` makes the departments' tables from their contracts and fills them; `Life` then keeps the city living at a chosen rate;
`compare` says, without the mesh, what every subscriber must hold. Made-up numbers use only the county codes 440199 and
440198, which GB/T 2260 never allocated: no number here can belong to anybody.

Definitions that the figures hang on: a citizen (公民) is a row of `police.resident`; the legal entities and other organisations
(法人及其他组织) are the rows of `aic.enterprise`, `staffing.institution` and `civil.social_organisation` together; the coverage
of unified social credit codes (统一社会信用代码) is that of `aic.enterprise`.
"""
