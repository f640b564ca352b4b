// Made by Scripts/make_unicode_tables.py.

extension UnicodeTables {
  /// Name, general categories, scalars besides those, scalars of those that do not belong.
  static let sets: StaticString = """
    White_Space - JFSBkDBaB/uFB/rCLdCFBvBBg9DB -
    Emoji - jBBGBFKvDBEBt8HBMB4GBWB6CGPCvLCMBmFBZLEDnGBnHCKBJB6BEBFJBCBCCCBEBCBBCCBDBDCIDFBBBFMLCCBBCBBSBCCSGBBBCDCFBCCE\
    CLCFCCBFCBBBCUCFGBECBEBCBCGBBCBBBBBGBDBGBKCPBCBEBBBEDBBLCwBDJBOBOB0LCvODTCzBBEB6mBBMB5SBBBqrvDBqGBgFCMCOBCKrCaBCXBUB\
    CJVCuFiBCwDCCBDCzCCDBnIB/BLGBYHCCIMBCECBECNCCBICJBFDMDIDCBBBEBGBDBG2CwBmCFICDEKDBBCDBCKjHMEB7IvBBKB5FwDNDKF4BHPCLGJ \
    -
    Extended_Pictographic - pFBEBt8HBMB4GBWB6CGPCvLCMB/CBmCBZLEDnGBnHCKBJB6BEBGBMByDK2DCLBBBBGBDBGBKCPBCBEBBBEDBBLFtBDJB\
    OBOB0LCvODTCzBBEB6mBBMB5SBBBmrvDsBEkDMPCPBPBlBXDfB8BGMCOBCKSBzCCXBUBCJVCOG6E7HF+JIqIwB4CERDN3DDEF1CFGMEB/FMECqCvBBKB\
    tIMOCNDKF4BHPCLGJ -
    Alphabetic Lu+Ll+Lt+Lm+Lo+Nl laBdNgSOBBBCBCBBoCLwBNBHQBlDHEECCEBjBBeQmDLlDCDJBDBEqDB8BMDHGU2BCCPBCFDKCdD6BHCCCCKBKCd\
    D6BFECCCEBeCDBLD6BIBDBCVCWDED6BHCCCCJCKCeB7BFDDBDKBoBF5BHBDBDICLCdD6BHBDBDICLCPBME6BHBDBDKBKCdDrCGBBBISC9BBCHSBjDBCG\
    BCQBjFTJLBkBuDMBBCEXEEDBDCHDENMBBKE0zBCeCeCeCiCT8FCiBB2DMEJ+GF5BKCUqCCLDxBFwBP8BDeJCC5BLyBT8MiBh2B0B2nCgB0jeIiBCiLBI\
    BXF4CCyBQBB5BBmBFcMtBEwBMlBBjCOMBICtBDyBBBDCCFBsBFFBtHIz5TB3iCFm0BDBCFE0YEhCBhKCvCBjID1BOtBCLDtBJJB9BDkBMSC5BDwBNOC8\
    CJCBGBCB9EKXE6BHCCCCKBKC0CJBBCBBEBCnDNBDqDStHHCHdCyCPBBqDLnDOhIN3HGBCCCDBBBuEHCGEBcKqBFBESLuBO3MIBHzCWBO6DGDBBCBDBBD\
    BiCFBCBE8KEJCBBwBHDD9uQRgxDBB3BHE9CCslTBh7IHBRCHBCBFkDB3lCBo/BaGaGa -
    Uppercase Lu grIQmaagjzDaGaGa -
    Lowercase Ll qFBPB1PJHCeFgDB0BBhsDBvhD/BNBiBlBxVBNBQNzGQwaay8BC+weCyGBhEDDCibEJB2gXBCDBqBBJ1j2B+B -
    word Lu+Ll+Lt+Lm+Lo+Nl+Mn+Mc+Me+Nd+Pc yFCFBCD3/I0BmizDaGaGa -
    rust:numeric Nd+Nl+No gvnCKqwUD -
    rust:punctuation Pc+Pd+Ps+Pe+Pi+Pf+Po kBBGBQDfBBBbBBBuvFB76+BB 9wBB/eB4DBgQBMBp2DCtBDj2ENCMw43BB+JBnFFsBEqiBCBCyDFKC\
    BBiQNsCBhMBoID7EB8CIzCDBF9CK3GB/CFqBClUCqCNvFBx/DC6rPDnJEnKB8wdB+aC
    rust:word Lu+Ll+Lt+Lm+Lo+Nl+Mn+Mc+Me+Nd+Pc sgIColB0BmizDaGaGa -
    rust:mark Mn+Mc+Me ynHC 9/BB5EJqBKqJB7HG1CBuFB3BB2FBMB6BCkCB4JBTBmiCB5HBvVQoRB+HFxxiBByGBkhZEhCF9JCvCEmCLxBEqHBCCtCB\
    iECiEBECxDB5HB8DJBBCBBEBFBBOC7DBteP1HGBCCEBBBCtEHCHDBcKoBHBEIBJLuBQ3UGDBBCBHBBiCFBCBF7KEJCBBwBHDFXBlnFBGPomLS/wDBvBJ\
    8CBLCu4XuBCXoqEBgFH3LB9BE8PE+HC
    Adlam - go6DsCEKEC -
    Ahom - g4lCbCPEX -
    Anatolian_Hieroglyphs - ggxCnS -
    Arabic - gwBFBGBOBDBgBBKLaBsDBiBwCwBwHfBCFrCBdwy8BzDQrLCwCC2BHBgBQwDFBnEj7DfjCD3BEg43BEBbBCBBCBBKBEBBBBGBEBBBBBBDBCB\
    BCBBBBBBBBBBCBBCEBHBEBEBBBKBRFDBFBR0BC -
    Armenian - xpBmBCyBCDjs9BF -
    Avestan - g4iC2BDH -
    Balinese - g4GtCByB -
    Bamum - g1pB4CoowB5R -
    Bassa_Vah - w26CeCG -
    Batak - g+G0BIE -
    Bengali - gsCEBICCCWBHBBDECJCCCEIBECBFCZ -
    Bhaiksuki - ggnCJBtBBOKd -
    Bopomofo - qXC5wLrBwDgB -
    Brahmi - ggkCuCEkBJB -
    Braille - ggKgI -
    Buginese - gwGcCC -
    Buhid - g6FU -
    Canadian_Aboriginal - ggFgUwRmC6tgCQ -
    Carian - g1gCxB -
    Caucasian_Albanian - wphC0BLB -
    Chakma - gokC1BBS -
    Cham - gwqB3BJOCKCE -
    Cherokee - g9E2CCGy7lBwC -
    Chorasmian - w9jCc -
    Common - AhCaGavBBPBFXBfBhOnBFFCU0DBJBGBBB9TBGBOBDBgBB8EBkQBhEC5mBB1MEiJBvvBDnCCrGCBBtmBBNBHEBGBDCBlYMC3CBLDLBPRhB/B\
    mBBDCGBbBRpBDE6UWLVgdgI0TCgBBpDgQ+CyMVBBBZPIEE7CCDB6CCzEQgBmBJBwBgCfxCvBB4CoFguGgCgoWiBmDDlFK0HBgFBrMBOCyuUCwGKWjBBT\
    BEzEBBgBaGaLKBtBCgCHBHKFiIDEtBDJwCNzBtBkHbktuBE86D6HG0N8E0D8B2HKnBC+BDRICHeE9B1GUMUM3CJZnE1CBnCBCCBCCCEBMBBBHBhCBECI\
    BHBcBEBFBBDHB0KCkJCyBxjFkCsC9BiWsBEkDMPCPBPBlBKuF4BaBCNsBEJHCOG6E4eERDND3DE/CGMEBPME4BIKGoBIeCMEC+B0KMOCNDKF4BHPCLGJ\
    HzEBmDnghYBegD -
    Coptic - ifOwkK0DFH -
    Cuneiform - ggoC6cmDvDBFLkG -
    Cypriot - ggiCGCBBsBBCDBCB -
    Cypro_Minoan - w8rCjD -
    Cyrillic - ggBlECpFw6FLgFBsCBnjEgBgiegDu8VCgw4B+BhBB -
    Deseret - gghCwC -
    Devanagari - goCxCEPCag7nBgBgwcK -
    Dives_Akuru - gomCHCBCIBCBeBCCMJK -
    Dogra - ggmC8B -
    Duployan - ggvDrDFNDJHKCE -
    Egyptian_Hieroglyphs - ggsC2iBK78D -
    Elbasan - gohCoB -
    Elymaic - g/jCX -
    Ethiopic - gwEpCBECHBBBECpBBEChBBECHBBBECPB5BBECjCCgBDamvGXJHBHBHBHBHBHBHBHipfGCGCGJHBHxlvCHBEBCBP -
    Garay - gqjCmBDdIC -
    Georgian - glEmBBBFBCrBBEw8CrBCDgiEmBBBFB -
    Glagolitic - ggLgDg9sDHBRCHBCBF -
    Gothic - w5gCb -
    Grantha - g4kCEBICCCWBHBCBFCJCCCDCBGBFHCHDF -
    Greek - wbEBDCEBBEBBBBDBBBUB/BOQmpGFyBFEF0CBgKWCGCmBCGCIBBBBBBBfC1BBPBOCGBTCDBJnJB+xiBB6uVvCRB/i0BmC -
    Gujarati - h0CDBJBDBWBHBCBFCKBDBDCBPECMHH -
    Gunjala_Gondi - grnCGBCBlBBCBGHK -
    Gurmukhi - hwCDBGECCWBHBCBCBCCBBFECCDDBHEBBHR -
    Gurung_Khema - go4C6B -
    Han - g0LaB5CM2GvBBBBZJOEkeguGgCgwUgoWuLCqDoodCMCugkBg3pBgB6hEG+GCi0FOxpHPuTitC+QivBr6EFgjE -
    Hangul - goEgIuxHChI+CxDfhCfh3ddjUk9KMXExBk9JfDGCGCGCD -
    Hanifi_Rohingya - gojCoBIK -
    Hanunoo - g5FV -
    Hatran - gniCTBCFF -
    Hebrew - xsB3BIbEGop9BaBFBBBCBCBK -
    Hiragana - hiM2CGDh7/C/ISBdDtlQB -
    Imperial_Aramaic - giiCWBJ -
    Inherited - gYwD1ICkOLaBgXE7qEfhQDBNBHEBGBDCmGgCsQCiGhB55DErDClrzBQQOveBiHB6iEBk+uBuBCXgRDRICHeEy6rYwH -
    Inscriptional_Pahlavi - g7iCTFI -
    Inscriptional_Parthian - g6iCWCI -
    Javanese - gsqBuCCKEC -
    Kaithi - gkkCjCKB -
    Kannada - gkDNBDBXBKBFCJBDBEHCGCBECKBD -
    Katakana - hlM6CCDwHQwGvBB4CugzBKBtByisBEBHBCBB/IDyBBOE -
    Kawi - g4nCRBpBDd -
    Kayah_Li - goqBuBBB -
    Kharoshthi - gwiCEBCFIBDBdCDEKHJ -
    Khitan_Small_Script - k/7CB74G2OpBB -
    Khmer - g8F+CCKGKmPgB -
    Khojki - gwkCSBvB -
    Khudawadi - w1kC7BFK -
    Kirat_Rai - gq7C6B -
    Lao - h0DCBBBFBYBBBXCFBBBHBKCE -
    Latin - hCaGavBBPBFXBfBhOnBF7wGmBGxBFEFNBmChCgIxLBNBQNtECGBbBRpB32CgBi1emDDjCCCBBBIVOwZrBBJBE28TH6gBaGalhCGBqBBJl61B\
    fGG -
    Lepcha - ggH4BDPDD -
    Limbu - goGfBMEMEBDM -
    Linear_A - gwhC3JJWKI -
    Linear_B - gggCMBaBTBCBPCOiB7D -
    Lisu - wmpBwBw1eB -
    Lycian - g0gCd -
    Lydian - gpiCaFB -
    Mahajani - wqkCnB -
    Makasar - g3nCZ -
    Malayalam - goDNBDBzBBDBGEQCa -
    Mandaic - giCcCB -
    Manichaean - g2iCnBEM -
    Marchen - wjnCgBCWBO -
    Masaram_Gondi - gonCHBCBsBDBBCBJIK -
    Medefaidrin - gy7C7C -
    Meetei_Mayek - g3qBXpGuBCK -
    Mende_Kikakui - gg6DlGCQ -
    Meroitic_Cursive - gtiCYEUCuB -
    Meroitic_Hieroglyphs - gsiCgB -
    Miao - g47CrCE5BHR -
    Modi - gwlClCLK -
    Mongolian - ggGCCBBUG5CHrB1t/BN -
    Mro - gy6CfBKEC -
    Multani - g0kCHBBBEBPBL -
    Myanmar - ggEgFgqmBfhDgBwibU -
    Nabataean - gkiCfIJ -
    Nag_Mundari - wm5DqB -
    Nandinagari - gtmCICuBCL -
    New_Tai_Lue - gsGsBEaGLDC -
    Newa - gglC8CBF -
    Nko - g+B7BCD -
    Nushu - h/7CBusQsM -
    Nyiakeng_Puachue_Hmong - go4DtBDOCKEC -
    Ogham - g0Fd -
    Ol_Chiki - wiHwB -
    Ol_Onal - wu5DrBEB -
    Old_Hungarian - gkjCzBNzBHG -
    Old_Italic - g4gCkBJD -
    Old_North_Arabian - g0iCgB -
    Old_Permic - w6gCrB -
    Old_Persian - g9gCkBEO -
    Old_Sogdian - g4jCoB -
    Old_South_Arabian - gziCgB -
    Old_Turkic - ggjCpC -
    Old_Uyghur - w7jCa -
    Oriya - h4CDBICCCWBHBCBFCJCCCDHDECBFCS -
    Osage - wlhCkBEkB -
    Osmanya - gkhCeCK -
    Pahawh_Hmong - g46CmCKKBHBVFT -
    Palmyrene - gjiCgB -
    Pau_Cin_Hau - g2mC5B -
    Phags_Pa - giqB4B -
    Phoenician - goiCcDB -
    Psalter_Pahlavi - g8iCSHEMH -
    Rejang - wpqBkBLB -
    Runic - g1FrCDL -
    Samaritan - ggCuBCP -
    Saurashtra - gkqBmCIM -
    Sharada - gskCgD -
    Shavian - wihCwB -
    Siddham - gslC2BCmB -
    SignWriting - gg2DsUPFBP -
    Sinhala - hsDDBSDYBJBBCHDBEGBBBIGKCDs/gCU -
    Sogdian - w5jCqB -
    Sora_Sompeng - wmkCZHK -
    Soyombo - wymCzC -
    Sundanese - g8GgCgII -
    Sunuwar - g+mCiBOK -
    Syloti_Nagri - ggqBtB -
    Syriac - g4BOB8BCDwIL -
    Tagalog - g4FWJB -
    Tagbanwa - g7FNBDBC -
    Tai_Le - wqGeCF -
    Tai_Tham - gxG/BBdCLGKGO -
    Tai_Viet - g0qBjCYF -
    Takri - g0lC6BGK -
    Tamil - i8CCBGDDBEDCBBBCDCDDDMEFDDBECBGBOVl+kCyBNB -
    Tangsa - wz6CvCBK -
    Tangut - g/7CBf4/FIgYgQJ -
    Telugu - ggDNBDBXBQCJBDBEHCBDCBCECKHJ -
    Thaana - g8ByB -
    Thai - hwD6BFc -
    Tibetan - g4DoCBkBEnBBkBBPBHEC -
    Tifinagh - wpL4BHCOB -
    Tirhuta - gklCoCIK -
    Todhri - guhC0B -
    Toto - w04Df -
    Tulu_Tigalari - g8kCKBBCBBmBBKBBCBBEBKBCIC -
    Ugaritic - g8gCeBB -
    Vai - gopBsJ -
    Vithkuqi - wrhCLBPBHBCBLBPBHBC -
    Wancho - g24D6BFB -
    Warang_Citi - glmCzCMB -
    Yezidi - g0jCqBBDCC -
    Yi - ggoBtkBD3B -
    Zanabazar_Square - gwmCoC -
    """
}
